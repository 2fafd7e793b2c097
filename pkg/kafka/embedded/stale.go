package embedded

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceByID is the first version of a produce request that names topics by their ids alone.
const produceByID = 13

// refuseStale answers produce requests that name a topic which is gone: one that was deleted, or that a broker of the
// same address had before its data were wiped. kfake does so itself, but panics when there are two of them in one
// request, and takes our process along.
func refuseStale(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		produce, ok := request.(*kmsg.ProduceRequest)
		if !ok || produce.Version < produceByID || len(produce.Topics) < 2 {
			return nil, nil, false
		}
		response := produce.ResponseKind().(*kmsg.ProduceResponse)
		stale := false
		for i := range produce.Topics {
			// What is asked for beside it is not written either; the client looks for the leader again and repeats it.
			code := kerr.NotLeaderForPartition.Code
			if cluster.TopicIDInfo(produce.Topics[i].TopicID) == nil {
				code, stale = kerr.UnknownTopicID.Code, true
			}
			response.Topics = append(response.Topics, refusal(&produce.Topics[i], code))
		}
		if !stale {
			return nil, nil, false
		}
		cluster.KeepControl()
		return response, nil, true
	})
}

func refusal(topic *kmsg.ProduceRequestTopic, code int16) kmsg.ProduceResponseTopic {
	out := kmsg.NewProduceResponseTopic()
	out.TopicID = topic.TopicID
	for i := range topic.Partitions {
		partition := kmsg.NewProduceResponseTopicPartition()
		partition.Partition, partition.ErrorCode = topic.Partitions[i].Partition, code
		out.Partitions = append(out.Partitions, partition)
	}
	return out
}
