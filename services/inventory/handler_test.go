package inventory_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestHandler_ReserveStock_Conforms(t *testing.T) {
	t.Parallel()
	workertest.Conformance(t, workertest.Contract{
		Step: "reserve_stock",
		Kit: func(t *testing.T) *workertest.Kit {
			t.Helper()
			s := newShop(t)
			s.stock(t, "MUG", "BERLIN", "DE", 100_000)
			s.stock(t, "PEN", "BERLIN", "DE", 100_000)
			return s.kit
		},
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return (&shop{}).reserveFor(meta, want{"MUG", 2}, want{"PEN", 1})
		},
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return (&shop{}).reserveFor(meta, want{"MUG", 1_000_000})
		},
		Undo: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &inventoryv1.ReleaseStock{Meta: meta}
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			// A promise counts when row, lines, level and ledger all say so.
			return one[int](t, kit, `
				SELECT count(*) FROM reservation r
				WHERE state = 'held'
					AND (SELECT sum(open) FROM reservation_line l WHERE l.reservation_id = r.reservation_id) = 3
					AND (SELECT sum(d_reserved) FROM movement m WHERE m.cause_id = r.reservation_id) = 3
					AND (SELECT sum(reserved) FROM stock_level) = 3 * (SELECT count(*) FROM reservation WHERE state = 'held')`)
		},
	})
}

func TestHandler_CommitStock_Conforms(t *testing.T) {
	t.Parallel()
	workertest.Conformance(t, workertest.Contract{
		Step: "commit_stock",
		Kit: func(t *testing.T) *workertest.Kit {
			t.Helper()
			s := newShop(t)
			s.stock(t, "MUG", "BERLIN", "DE", 100_000)
			return s.kit
		},
		Do: func(t *testing.T, kit *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			t.Helper()
			held := (&shop{}).reserveFor(workertest.StepMeta(meta, "reserve_stock"), want{"MUG", 2})
			require.NotNil(t, kit.Do(t, held).GetDone())
			return &inventoryv1.CommitStock{Meta: meta}
		},
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &inventoryv1.CommitStock{Meta: meta}
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			return one[int](t, kit, `
				SELECT count(*) FROM reservation r
				WHERE state = 'consumed'
					AND (SELECT sum(shipped) FROM reservation_line l WHERE l.reservation_id = r.reservation_id) = 2
					AND (SELECT sum(d_on_hand) FROM movement m WHERE m.cause_id = r.reservation_id) = -2
					AND (SELECT sum(on_hand) FROM stock_level)
						= 100000 - 2 * (SELECT count(*) FROM reservation WHERE state = 'consumed')`)
		},
	})
}

func one[T any](t *testing.T, kit *workertest.Kit, sql string) (value T) {
	t.Helper()
	require.NoError(t, kit.Pool.QueryRow(t.Context(), sql).Scan(&value))
	return value
}

func TestHandler_ReserveStock_SaysWhatIsHeld(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 3)
	s.stock(t, "MUG", "PARIS", "FR", 2)
	s.stock(t, "PEN", "PARIS", "FR", 9)
	command := s.reserve(want{"MUG", 5}, want{"PEN", 1})
	done := s.done(t, command)
	held := s.reservations(t, command.GetMeta().GetOrderId())
	require.Len(t, held, 1)
	id := held[0].ReservationID.String()
	require.Equal(t, map[string]string{"reservation_id": id}, done.GetHandles())
	require.Equal(t, []string{"stock 5 MUG " + id, "stock 1 PEN " + id}, said(done), "an effect a line, not a location")
	require.Equal(t, inventoryapi.ReservationState("held"), held[0].State)
	require.Len(t, held[0].Lines, 3)
	require.WithinDuration(t, command.GetExpiresAt().AsTime(), *held[0].ExpiresAt, time.Microsecond)
	require.Equal(t, int64(3), s.level(t, "MUG", "BERLIN").Reserved)
	require.Equal(t, int64(0), s.level(t, "MUG", "PARIS").Available)
	require.Equal(t, int64(6), s.totals(t)["MUG"].Ledger.Reserved+s.totals(t)["PEN"].Ledger.Reserved)
}

func said(done *sagav1.Done) []string {
	var text []string
	for _, e := range done.GetEffects() {
		text = append(text, fmt.Sprintf("%s %d %s %s", e.GetKind(), e.GetAmount(), e.GetUnit(), e.GetHandle()))
	}
	return text
}

func TestHandler_ReserveStock_Refuses(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 3)
	s.stock(t, "PEN", "BERLIN", "DE", 3)
	twice := s.reserve(want{"MUG", 1})
	s.done(t, twice)
	again := s.reserve(want{"MUG", 1})
	again.Meta.OrderId = twice.GetMeta().GetOrderId()
	late := s.reserve(want{"MUG", 1})
	late.ExpiresAt = timestamppb.New(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
	endless := s.reserve(want{"MUG", 1})
	endless.ExpiresAt = nil
	nowhere := s.reserve(want{"MUG", 1})
	nowhere.ShipToCountry = "Germany"
	for _, c := range []struct {
		name         string
		command      *inventoryv1.ReserveStock
		code, detail string
	}{
		{"out_of_stock", s.reserve(want{"PEN", 1}, want{"MUG", 3}), "out_of_stock", "MUG: wanted 3, available 2"},
		{"unknown_sku", s.reserve(want{"PEN", 1}, want{"CUP", 1}), "unknown_sku", `not in the catalogue: "CUP"`},
		{"sku_no_text_column_takes", s.reserve(want{"A\x00B", 1}), "unknown_sku", `not in the catalogue: "A\x00B"`},
		{"no_lines", s.reserve(), "invalid_command", "an order has 1 to 1000 lines, not 0"},
		{"hold_has_ended", late, "reservation_expired", "the hold was to end at 2020-01-02T03:04:05Z, which has passed"},
		{
			"hold_without_end", endless, "invalid_command",
			"expires_at is missing or no time: a hold without an end is not made",
		},
		{"no_country", nowhere, "invalid_command", `ship_to_country "Germany" is no ISO 3166-1 alpha-2 code`},
		{
			"order_holds_already", again, "already_reserved",
			fmt.Sprintf("order %s holds stock already", twice.GetMeta().GetOrderId()),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := s.kit.Do(t, c.command).GetRefused()
			require.NotNil(t, refused)
			require.Equal(t, c.code, refused.GetCode())
			require.Equal(t, c.detail, refused.GetDetail())
		})
	}
	require.Equal(t, int64(1), s.totals(t)["MUG"].Reservations.Held)
	require.Equal(t, int64(0), s.totals(t)["PEN"].Reservations.Held, "a refused order holds none of its lines")
}

func TestHandler_ReserveStock_FirstComeFirstServedInOnePoll(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 10)
	var polled []worker.Input
	for _, qty := range []int64{4, 7, 6, 1} {
		polled = append(polled, s.reserve(want{"MUG", qty}))
	}
	var answers []string
	for _, reply := range s.kit.Send(t, polled...) {
		answers = append(answers, fmt.Sprintf("%t %s", reply.GetDone() != nil, reply.GetRefused().GetDetail()))
	}
	require.Equal(t, []string{
		"true ", "false MUG: wanted 7, available 6", "true ", "false MUG: wanted 1, available 0",
	}, answers)
	require.Equal(t, int64(10), s.totals(t)["MUG"].Reservations.Held)
	require.Equal(t, int64(3), s.level(t, "MUG", "BERLIN").Version, "received, and a movement for each of two orders")
}

func TestHandler_UntrackedItemsAreNeverShort(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	untracked := false
	_, err := s.api.CreateItem(t.Context(), inventoryapi.CreateItemRequestObject{
		Body: &inventoryapi.NewItem{Sku: "GIFT-CARD", Tracked: &untracked},
	})
	require.NoError(t, err)
	command := s.reserve(want{"GIFT-CARD", 1000})
	require.Empty(t, s.done(t, command).GetEffects(), "nothing is held, so nothing is claimed")
	require.Empty(t, s.done(t, commit(command)).GetEffects())
	require.Equal(t, inventoryapi.ReservationState("consumed"), s.reservations(t, command.GetMeta().GetOrderId())[0].State)
}

func TestHandler_ReleaseStock(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	t.Run("gives_back", func(t *testing.T) {
		command := s.reserve(want{"MUG", 5})
		s.done(t, command)
		undo := release(command)
		undo.Reason = "declined\x00" + strings.Repeat("x", 500)
		require.NotNil(t, s.kit.Undo(t, undo).GetUndone(), "an undo does not fail because of its wording")
		held := s.reservations(t, command.GetMeta().GetOrderId())[0]
		require.Equal(t, inventoryapi.ReservationState("released"), held.State)
		require.Equal(t, int64(5), held.Lines[0].Released)
		require.Equal(t, int64(5), s.level(t, "MUG", "BERLIN").Available)
	})
	t.Run("expired_is_not_made_again", func(t *testing.T) {
		command := s.reserve(want{"MUG", 5})
		s.done(t, command)
		s.skip(2 * time.Hour)
		_, err := s.sweeper.RunOnce(t.Context())
		require.NoError(t, err)
		require.NotNil(t, s.kit.Undo(t, release(command)).GetUndone())
		require.Equal(t, "no_reservation", s.kit.Do(t, commit(command)).GetRefused().GetCode(), "the undo is a fence")
		require.Equal(t, inventoryapi.ReservationState("released"), s.reservations(t, command.GetMeta().GetOrderId())[0].State)
		require.Equal(t, int64(5), s.level(t, "MUG", "BERLIN").Available, "nothing is given back twice")
	})
	t.Run("committed_is_refused", func(t *testing.T) {
		command := s.reserve(want{"MUG", 1})
		s.done(t, command)
		s.done(t, commit(command))
		refused := s.kit.Undo(t, release(command)).GetRefused()
		require.Equal(t, "already_committed", refused.GetCode())
		require.Contains(t, refused.GetDetail(), "is consumed since")
	})
	t.Run("after_expiry_keeps_its_hands_off_the_next_saga's", func(t *testing.T) {
		first, second := s.reserve(want{"MUG", 1}), s.reserve(want{"MUG", 1})
		second.Meta.OrderId = first.GetMeta().GetOrderId()
		s.done(t, first)
		s.skip(2 * time.Hour)
		_, err := s.sweeper.RunOnce(t.Context())
		require.NoError(t, err)
		second.ExpiresAt = timestamppb.New(s.now().Add(time.Hour))
		s.done(t, second)
		require.NotNil(t, s.kit.Undo(t, release(first)).GetUndone(), "what it held is gone already")
		held := s.reservations(t, first.GetMeta().GetOrderId())
		require.Equal(t, inventoryapi.ReservationState("held"), held[0].State)
	})
	t.Run("of_another_saga_keeps_its_hands_off", func(t *testing.T) {
		first, second := s.reserve(want{"MUG", 1}), s.reserve(want{"MUG", 1})
		second.Meta.OrderId = first.GetMeta().GetOrderId()
		s.done(t, first)
		require.NotNil(t, s.kit.Undo(t, release(first)).GetUndone())
		s.done(t, second)
		require.NotNil(t, s.kit.Undo(t, workertest.Again(t, release(first))).GetUndone())
		held := s.reservations(t, first.GetMeta().GetOrderId())
		require.Equal(t, inventoryapi.ReservationState("held"), held[0].State)
	})
	s.totals(t)
}

func TestHandler_CommitStock_LetsGoodsLeave(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	command := s.reserve(want{"MUG", 2}, want{"MUG", 1})
	id := s.done(t, command).GetHandles()["reservation_id"]
	done := s.done(t, commit(command))
	require.Equal(t, []string{"stock_committed 2 MUG " + id, "stock_committed 1 MUG " + id}, said(done))
	level := s.level(t, "MUG", "BERLIN")
	require.Equal(t, []int64{2, 0, 3}, []int64{level.OnHand, level.Reserved, level.Version})
	require.Equal(t, int64(3), s.totals(t)["MUG"].Ledger.Shipped)

	next := commit(command)
	next.Meta.Generation++
	require.Equal(t, said(done), said(s.done(t, next)), "what has left has left; asking differently ships nothing more")
	require.Equal(t, int64(2), s.level(t, "MUG", "BERLIN").OnHand)
}

func TestHandler_CommitStock_WithoutReservation(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	never := s.kit.Do(t, commit(s.reserve())).GetRefused()
	require.Equal(t, "no_reservation", never.GetCode())
	command := s.reserve(want{"MUG", 2})
	s.done(t, command)
	require.NotNil(t, s.kit.Undo(t, release(command)).GetUndone())
	released := s.kit.Do(t, commit(command)).GetRefused()
	require.Equal(t, "no_reservation", released.GetCode())
	require.Contains(t, released.GetDetail(), "card declined")
}

func TestHandler_CommitStock_OfAnExpiredHold(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	expired := func(t *testing.T, qty int64) *inventoryv1.ReserveStock {
		t.Helper()
		command := s.reserve(want{"MUG", qty})
		s.done(t, command)
		s.skip(2 * time.Hour)
		n, err := s.sweeper.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return command
	}
	t.Run("is_made_again_while_there_is_stock", func(t *testing.T) {
		command := expired(t, 3)
		done := s.done(t, commit(command))
		both := s.reservations(t, command.GetMeta().GetOrderId())
		require.Len(t, both, 2)
		require.Equal(t, inventoryapi.ReservationState("consumed"), both[0].State)
		require.Equal(t, inventoryapi.ReservationState("expired"), both[1].State)
		require.Equal(t, []string{"stock_committed 3 MUG " + both[0].ReservationID.String()}, said(done))
		require.Equal(t, int64(2), s.level(t, "MUG", "BERLIN").OnHand)
	})
	t.Run("is_refused_when_sold_meanwhile", func(t *testing.T) {
		command := expired(t, 2)
		s.done(t, s.reserve(want{"MUG", 1}))
		refused := s.kit.Do(t, commit(command)).GetRefused()
		require.Equal(t, "reservation_expired", refused.GetCode())
		require.Contains(t, refused.GetDetail(), "MUG: wanted 2, available 1")
	})
	t.Run("is_held_until_the_sweeper_comes", func(t *testing.T) {
		s.stock(t, "MUG", "BERLIN", "DE", 5)
		command := s.reserve(want{"MUG", 2})
		s.done(t, command)
		s.skip(2 * time.Hour)
		s.done(t, commit(command))
		require.Len(t, s.reservations(t, command.GetMeta().GetOrderId()), 1)
	})
	s.totals(t)
}

// What was counted wins; the customer has paid, so the promise stays and the goods are waited for.
func TestHandler_CommitStock_WaitsForGoodsInAShortage(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	command := s.reserve(want{"MUG", 4})
	s.done(t, command)
	moved := s.count(t, "MUG", "BERLIN", 1)
	require.Len(t, *moved.Shortages, 1)
	require.Equal(t, int64(3), (*moved.Shortages)[0].Shortage)
	require.NotNil(t, s.kit.Do(t, s.reserve(want{"MUG", 1})).GetRefused(), "nothing more is promised in a shortage")

	attempt := commit(command)
	retry := s.kit.Do(t, attempt).GetRetry()
	require.Equal(t, "waiting for goods: MUG at BERLIN: needed 4, there 1", retry.GetReason())
	order := command.GetMeta().GetOrderId()
	require.Equal(t, inventoryapi.ReservationState("committed"), s.reservations(t, order)[0].State)
	s.skip(2 * time.Hour)
	n, err := s.sweeper.RunOnce(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "a committed promise does not expire")
	require.NotNil(t, s.kit.Do(t, workertest.Again(t, attempt)).GetRetry())
	require.Equal(t, "already_committed", s.kit.Undo(t, release(command)).GetRefused().GetCode())

	s.stock(t, "MUG", "BERLIN", "DE", 3)
	require.Zero(t, s.level(t, "MUG", "BERLIN").Shortage)
	s.done(t, workertest.Again(t, attempt))
	require.Equal(t, inventoryapi.ReservationState("consumed"), s.reservations(t, order)[0].State)
	require.Equal(t, int64(0), s.level(t, "MUG", "BERLIN").OnHand)
	s.totals(t)
}

// The conformance suite counts the usual way; this is the longest one, where every order's hold has to be made again.
func TestHandler_CommitStock_StatementsDoNotGrowWithExpiredHolds(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 10_000)
	s.stock(t, "PEN", "PARIS", "FR", 10_000)
	var of1 []string
	for _, size := range []int{1, 10, 200} {
		var holds, commits []worker.Input
		for range size {
			command := s.reserve(want{"MUG", 2}, want{"PEN", 1})
			holds, commits = append(holds, command), append(commits, commit(command))
		}
		s.kit.Send(t, holds...)
		s.skip(2 * time.Hour)
		n, err := s.sweeper.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, size, n)
		statements := s.kit.Count(t, commits...)
		if size == 1 {
			of1 = statements
		}
		require.Equal(t, of1, statements, "a poll of %d", size)
	}
	require.Equal(t, int64(422), s.totals(t)["MUG"].Ledger.Shipped)
}

func TestHandler_TwoCommitsOfOneOrderInAPollShipOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 5)
	command := s.reserve(want{"MUG", 2})
	s.done(t, command)
	first, second := commit(command), commit(command)
	second.Meta.SagaId = uuid.NewString()
	for _, reply := range s.kit.Send(t, first, second) {
		require.NotNil(t, reply.GetDone())
	}
	require.Equal(t, int64(3), s.level(t, "MUG", "BERLIN").OnHand)
	s.totals(t)
}
