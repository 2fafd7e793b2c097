package notification

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

const (
	// maxIdle is how long a conversation is kept without a mail: less than any server waits.
	maxIdle = 15 * time.Second
	// maxMails is how many mails a conversation carries; servers count them, too.
	maxMails = 100
)

// conversations keeps those with the mail server that are open and idle, for the next mails: to dial, to greet and to
// prove who we are costs more than a mail.
type conversations struct {
	client  *mail.Client
	timeout time.Duration

	mu     sync.Mutex
	idle   []*conversation
	closed bool
	// expiring are being ended by their timers.
	expiring sync.WaitGroup
}

// conversation is one with the mail server.
type conversation struct {
	smtp *smtp.Client
	// mails is how many it has carried.
	mails int
	// expiry ends it while it is idle.
	expiry *time.Timer
}

// open returns an idle conversation, or nil.
func (c *conversations) open() *conversation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == 0 {
		return nil
	}
	// The one that was used last is the one that is least likely to be over at the other end.
	last := len(c.idle) - 1
	found := c.idle[last]
	c.idle = c.idle[:last]
	found.expiry.Stop()
	return found
}

// dial begins one.
func (c *conversations) dial(ctx context.Context) (*conversation, error) {
	dialled, err := c.client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return &conversation{smtp: dialled}, nil
}

// keep takes a conversation back in which the last mail was accepted.
func (c *conversations) keep(used *conversation) {
	used.mails++
	c.mu.Lock()
	kept := !c.closed && used.mails < maxMails
	if kept {
		used.expiry = time.AfterFunc(maxIdle, func() { c.expire(used) })
		c.idle = append(c.idle, used)
	}
	c.mu.Unlock()
	if !kept {
		c.end(used)
	}
}

// expire ends a conversation, unless somebody has it again.
func (c *conversations) expire(old *conversation) {
	c.mu.Lock()
	at := slices.Index(c.idle, old)
	if at >= 0 {
		c.idle = slices.Delete(c.idle, at, at+1)
		c.expiring.Add(1)
		defer c.expiring.Done()
	}
	c.mu.Unlock()
	if at >= 0 {
		c.end(old)
	}
}

// end says goodbye. What comes of that is nobody's matter: the connection is closed either way.
func (c *conversations) end(over *conversation) {
	_ = over.smtp.UpdateDeadline(c.timeout)
	if err := over.smtp.Quit(); err != nil {
		_ = over.smtp.Close()
	}
}

// close ends the idle ones; those in use end when they are given back.
func (c *conversations) close() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	c.mu.Unlock()
	for _, one := range idle {
		one.expiry.Stop()
		c.end(one)
	}
	c.expiring.Wait()
}
