package embedded

import "context"

// Forget is one look for records that may be forgotten.
func (b *Broker) Forget(ctx context.Context) error { return b.forgetter.runOnce(ctx) }
