package coordinator

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/kafka"
)

// catalogue holds every definition that this build can run. A saga keeps the hash of the one it began with; a
// coordinator that does not know a hash leaves that saga alone.
type catalogue struct {
	byHash map[saga.Hash]*saga.Definition
	// fulfilment is what new orders take.
	fulfilment *saga.Definition
}

func newCatalogue(config *Config) (*catalogue, error) {
	list := config.Definitions
	if len(list) == 0 {
		var err error
		if list, err = shippedDefinitions(config.timing()); err != nil {
			return nil, fmt.Errorf("building the definitions: %w", err)
		}
	}
	c := &catalogue{byHash: make(map[saga.Hash]*saga.Definition, len(list)), fulfilment: list[0]}
	for _, d := range list {
		c.byHash[d.Hash()] = d
	}
	return c, nil
}

func shippedDefinitions(timing order.Timing) ([]*saga.Definition, error) {
	list, err := order.Definitions(timing)
	if err != nil {
		return nil, err
	}
	return withTrial(timing, list)
}

// all lists the definitions by name and version.
func (c *catalogue) all() []*saga.Definition {
	list := make([]*saga.Definition, 0, len(c.byHash))
	for _, d := range c.byHash {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *saga.Definition) int {
		if a.Name() != b.Name() {
			return slices.Compare([]byte(a.Name()), []byte(b.Name()))
		}
		return a.Version() - b.Version()
	})
	return list
}

// participants lists who is asked by any definition.
func (c *catalogue) participants() []string { return order.Participants(c.all()) }

// speakers maps each participant's reply topic to the participant as an actor. Only that participant may write to it, so the topic says
// who speaks.
func (c *catalogue) speakers(topics kafka.Topics) map[string]string {
	m := make(map[string]string)
	for _, p := range c.participants() {
		m[topics.ReplyTopic(p)] = speakerPrefix + p
	}
	return m
}

// commandTopics maps each participant to the topic of its commands.
func (c *catalogue) commandTopics(topics kafka.Topics) map[string]string {
	m := make(map[string]string)
	for _, p := range c.participants() {
		m[p] = topics.CommandTopic(p)
	}
	return m
}

// topics lists every topic that a coordinator reads or writes.
func (c *catalogue) topics(topics kafka.Topics) []string {
	list := []string{topics.OrderEventsTopic()}
	for _, p := range c.participants() {
		list = append(list, topics.CommandTopic(p), topics.ReplyTopic(p))
	}
	return list
}

// partitioner says on which partition the records of an order are, by the producer's own rule.
type partitioner struct {
	rule  kgo.TopicPartitioner
	count int
}

func newPartitioner(partitions int32) partitioner {
	return partitioner{rule: kgo.StickyKeyPartitioner(nil).ForTopic(""), count: int(partitions)}
}

func (p partitioner) of(key string) int16 {
	return int16(p.rule.Partition(&kgo.Record{Key: []byte(key)}, p.count))
}
