package kafka_test

import (
	"fmt"

	"recourse.dev/pkg/kafka"
)

func ExampleTopics() {
	topics := kafka.Topics("recourse")
	fmt.Println(topics.CommandTopic("payment"))
	fmt.Println(topics.ReplyTopic("payment"))
	fmt.Println(topics.OrderEventsTopic())
	fmt.Println(topics.Group("payment"))
	// Output:
	// recourse.payment.commands.v1
	// recourse.payment.replies.v1
	// recourse.orders.events.v1
	// recourse.payment
}
