package kafka

import "time"

// LookAgain gives the second look of a poll so much time.
func (c *Consumer) LookAgain(d time.Duration) { c.lookAgain = d }

// Buffered is how many records the client has that no poll has taken.
func (c *Consumer) Buffered() int64 { return c.client.Load().BufferedFetchRecords() }
