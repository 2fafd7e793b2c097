package gatewaysim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"recourse.dev/pkg/sandbox"
)

// Route names of the API, for fault rules and triggers.
const (
	routeCreate  = "create"
	routeConfirm = "confirm"
	routeCapture = "capture"
	routeCancel  = "cancel"
	routeRefund  = "refund"
	routeGet     = "get"
	routeList    = "list"
)

// Kinds that only a token has.
const (
	works       sandbox.Kind = ""
	expireFirst sandbox.Kind = "expire_first" // the authorization expires just before the request
	hideIntent  sandbox.Kind = "hide_intent"  // every answer about the intent is lost for a while
)

// Trigger says what a payment token does to the requests of its intent.
type Trigger struct {
	// Token is the payment method that a caller names.
	Token string
	// Route is the request that is struck; empty for a token that always works.
	Route string
	// Kind is how it is struck.
	Kind sandbox.Kind
	// Wait is how long, for the kinds that wait.
	Wait func(Config) time.Duration
	// Declined is the refusal, for sandbox.Decline.
	Declined *Error
	// Times is how many answers are lost, for sandbox.DropAfter.
	Times int
}

var (
	genericDecline         = declined("card_declined", "generic_decline")
	insufficientFunds      = declined("card_declined", "insufficient_funds")
	authenticationRequired = declined("authentication_required", "")
)

// triggers is every payment token the gateway knows. doc.go explains each.
var triggers = []Trigger{
	{Token: "tok_visa", Kind: works},
	{Token: "tok_mastercard", Kind: works},
	{Token: "tok_ok", Kind: works},
	{Token: "tok_declined", Route: routeConfirm, Kind: sandbox.Decline, Declined: genericDecline},
	{Token: "tok_insufficient_funds", Route: routeConfirm, Kind: sandbox.Decline, Declined: insufficientFunds},
	{Token: "tok_authentication_required", Route: routeConfirm, Kind: sandbox.Decline, Declined: authenticationRequired},
	{Token: "tok_answer_lost", Route: routeConfirm, Kind: sandbox.DropAfter, Times: 1},
	{Token: "tok_unknown_long", Route: routeConfirm, Kind: hideIntent, Wait: unknownFor},
	{Token: "tok_late_effect", Route: routeConfirm, Kind: sandbox.LateEffect, Wait: lateDelay},
	{Token: "tok_500_saved", Route: routeConfirm, Kind: sandbox.Status500},
	{Token: "tok_slow", Route: routeConfirm, Kind: sandbox.Delay, Wait: slowDelay},
	{Token: "tok_capture_answer_lost", Route: routeCapture, Kind: sandbox.DropAfter, Times: 1},
	{Token: "tok_capture_late", Route: routeCapture, Kind: sandbox.LateEffect, Wait: lateDelay},
	{Token: "tok_capture_500_saved", Route: routeCapture, Kind: sandbox.Status500},
	{Token: "tok_capture_declined", Route: routeCapture, Kind: sandbox.Decline, Declined: genericDecline},
	{Token: "tok_auth_expires", Route: routeCapture, Kind: expireFirst},
	{Token: "tok_void_answer_lost", Route: routeCancel, Kind: sandbox.DropAfter, Times: 1},
	{Token: "tok_void_late", Route: routeCancel, Kind: sandbox.LateEffect, Wait: lateDelay},
	{Token: "tok_refund_answer_lost", Route: routeRefund, Kind: sandbox.DropAfter, Times: 1},
}

// Triggers lists the tokens the gateway knows; tok_answer_lost_N stands behind tok_answer_lost.
func Triggers() []Trigger {
	return slices.Clone(triggers)
}

func lateDelay(c Config) time.Duration  { return c.LateDelay }
func slowDelay(c Config) time.Duration  { return c.SlowDelay }
func unknownFor(c Config) time.Duration { return c.UnknownFor }

// triggerOf finds the row of a token.
func triggerOf(token string) (Trigger, *Error) {
	for _, trigger := range triggers {
		if trigger.Token == token {
			return trigger, nil
		}
	}
	if times, ok := strings.CutPrefix(token, "tok_answer_lost_"); ok {
		n, err := strconv.Atoi(times)
		if err == nil && n > 0 && n < 100 {
			return Trigger{Token: token, Route: routeConfirm, Kind: sandbox.DropAfter, Times: n}, nil
		}
	}
	unknown := noSuch(http.StatusBadRequest, "payment_method", token)
	unknown.Message = fmt.Sprintf("No such payment method: %q. The simulator knows tok_visa and the other tokens of "+
		"its documentation.", token)
	return Trigger{}, unknown
}

// plan strikes the call on a route with the row, and returns the refusal that a Decline stands for.
func (t Trigger) plan(route string, call *sandbox.Call, config Config) *Error {
	if t.Route == route {
		switch t.Kind {
		case works, expireFirst, hideIntent, sandbox.DropAfter:
			// Nothing for this one call: what expires, hides or loses its answers is the intent. See book.go.
		default:
			wait := time.Duration(0)
			if t.Wait != nil {
				wait = t.Wait(config)
			}
			call.Plan.Strike(t.Kind, wait)
		}
	}
	switch {
	case !call.Plan.Decline:
		return nil
	case t.Route == route && t.Declined != nil:
		return t.Declined
	default:
		return genericDecline
	}
}
