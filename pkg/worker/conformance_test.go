package worker_test

import (
	"testing"

	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestConformance_transactional_handler(t *testing.T) {
	t.Parallel()
	lines := func(sku string) []*inventoryv1.StockLine { return []*inventoryv1.StockLine{{Sku: sku, Quantity: 1}} }
	workertest.Conformance(t, workertest.Contract{
		Kit: newShelf,
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &inventoryv1.ReserveStock{Meta: meta, Lines: lines(skuPlain)}
		},
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &inventoryv1.ReserveStock{Meta: meta, Lines: lines(skuNone)}
		},
		Undo: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &inventoryv1.ReleaseStock{Meta: meta}
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int { return holds(t, kit.Pool) },
	})
}

func TestConformance_call_handler(t *testing.T) {
	t.Parallel()
	gateways := newGateways()
	workertest.Conformance(t, workertest.Contract{
		Kit: func(t *testing.T) *workertest.Kit {
			kit, gateway := newTill(t)
			gateways.put(kit, gateway)
			return kit
		},
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &paymentv1.AuthorizePayment{Meta: meta, AmountMinor: 100, Currency: "EUR", PaymentToken: tokenPlain}
		},
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &paymentv1.AuthorizePayment{Meta: meta, AmountMinor: 100, Currency: "EUR", PaymentToken: tokenDeclined}
		},
		Undo: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &paymentv1.VoidAuthorization{Meta: meta}
		},
		Effects: func(_ *testing.T, kit *workertest.Kit) int { return gateways.of(kit).blocked() },
	})
}
