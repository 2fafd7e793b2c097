package payment

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"recourse.dev/pkg/money"
)

// What the provider's API says, and what may be concluded from it. Nothing here talks to anybody.

const (
	statusRequiresPaymentMethod = "requires_payment_method"
	statusRequiresConfirmation  = "requires_confirmation"
	statusRequiresAction        = "requires_action"
	statusProcessing            = "processing"
	statusRequiresCapture       = "requires_capture"
	statusSucceeded             = "succeeded"
	statusCanceled              = "canceled"
)

type createBody struct {
	Amount        int64             `json:"amount"`
	Currency      string            `json:"currency"`
	CaptureMethod string            `json:"capture_method"`
	PaymentMethod string            `json:"payment_method"`
	Metadata      map[string]string `json:"metadata"`
}

func newCreateBody(r Request) createBody {
	return createBody{
		Amount: r.Amount.Minor, Currency: wireCurrency(r.Amount.Currency), CaptureMethod: "manual",
		PaymentMethod: r.PaymentToken,
		Metadata:      map[string]string{"order_id": r.OrderID.String(), "operation_id": r.OperationID.String()},
	}
}

type confirmBody struct {
	PaymentMethod string `json:"payment_method"`
}

type captureBody struct {
	AmountToCapture int64 `json:"amount_to_capture"`
}

type cancelBody struct {
	Reason string `json:"cancellation_reason"`
}

type paymentIntent struct {
	ID                 string            `json:"id"`
	Amount             int64             `json:"amount"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	Currency           string            `json:"currency"`
	Status             string            `json:"status"`
	LatestCharge       string            `json:"latest_charge"`
	CaptureBefore      int64             `json:"capture_before"`
	CancellationReason string            `json:"cancellation_reason"`
	Metadata           map[string]string `json:"metadata"`
	LastPaymentError   *apiError         `json:"last_payment_error"`
}

type apiError struct {
	Type          string         `json:"type"`
	Code          string         `json:"code"`
	DeclineCode   string         `json:"decline_code"`
	Message       string         `json:"message"`
	Param         string         `json:"param"`
	PaymentIntent *paymentIntent `json:"payment_intent"`
}

func (e apiError) String() string {
	return plainText(strings.Join(strings.Fields(e.Code+" "+e.DeclineCode+" "+e.Message), " "))
}

// maxText bounds what is kept of one text of the provider's: ids are much shorter, and of a message the beginning says
// enough.
const maxText = 500

// plainText makes text out of anything that a provider says: PostgreSQL refuses broken UTF-8 and the zero byte, and an
// answer that cannot be written down would leave its operation open for ever.
func plainText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// usable says whether an id can be kept as it is. One that cannot names nothing that we could ask for later.
func usable(id string) bool { return id != "" && plainText(id) == id }

func wireCurrency(c money.Currency) string { return strings.ToLower(string(c)) }

// readIntent reads an answer that should be an intent.
func readIntent(r Request, status int, body []byte) (*paymentIntent, Outcome) {
	if status != http.StatusOK {
		return nil, classify(r, status, body)
	}
	var intent paymentIntent
	if err := json.Unmarshal(body, &intent); err != nil {
		return nil, Unknown{DoubtNoAnswer, "reading the intent: " + err.Error()}
	}
	if !usable(intent.ID) {
		return nil, Unknown{DoubtNoAnswer, "the answer holds no intent"}
	}
	return &intent, nil
}

func readError(body []byte) apiError {
	var envelope struct {
		Error apiError `json:"error"`
	}
	// A body that is no error document leaves the names empty; the status decides then.
	_ = json.Unmarshal(body, &envelope)
	return envelope.Error
}

func errorNames(status int, body []byte) (errorType, code, declineCode string) {
	if status < http.StatusBadRequest {
		return "", "", ""
	}
	e := readError(body)
	return plainText(e.Type), plainText(e.Code), plainText(e.DeclineCode)
}

// progress orders the intents of one operation by how much they say; holdsMoney and above hold the customer's money.
func progress(intent paymentIntent) int {
	switch intent.Status {
	case statusSucceeded, statusRequiresCapture:
		return holdsMoney
	case statusProcessing, statusRequiresAction:
		return 3
	case statusCanceled:
		return 2
	case statusRequiresPaymentMethod:
		return 1
	}
	return 0
}

const holdsMoney = 4

// furthest picks the intent that tells the truth about an operation. An unconfirmed duplicate is possible and
// harmless; two that hold money are not, and nothing is concluded from them.
func furthest(r Request, intents []paymentIntent) (*paymentIntent, Outcome) {
	var best *paymentIntent
	for i, intent := range intents {
		if intent.Metadata["operation_id"] != r.OperationID.String() || !usable(intent.ID) {
			continue
		}
		if best != nil && progress(*best) == holdsMoney && progress(intent) == holdsMoney {
			return nil, Unknown{DoubtMismatch, fmt.Sprintf("intents %s and %s both hold money for operation %s",
				best.ID, intent.ID, r.OperationID)}
		}
		if best == nil || progress(intent) > progress(*best) {
			best = &intents[i]
		}
	}
	return best, nil
}

// judge reads from an intent whether the effect of an operation is there.
//
//	intent is                 authorize                capture                  void
//	requires_payment_method   declined, or not found   mismatch                 mismatch
//	requires_confirmation     not found                mismatch                 mismatch
//	requires_action           not found                mismatch                 mismatch
//	processing                busy                     busy                     busy
//	requires_capture          succeeded                not found                not found
//	succeeded                 succeeded                succeeded                refused: already captured
//	canceled                  refused: expired         refused: expired         succeeded, or refused: expired
func judge(r Request, intent paymentIntent) Outcome {
	if intent.Amount != r.Amount.Minor || !strings.EqualFold(intent.Currency, string(r.Amount.Currency)) {
		return Unknown{DoubtMismatch, fmt.Sprintf("intent %s is over %d %s, asked was %s",
			intent.ID, intent.Amount, plainText(intent.Currency), r.Amount)}
	}
	switch intent.Status {
	case statusProcessing:
		return Unknown{DoubtBusy, "the provider is still working on intent " + intent.ID}
	case statusRequiresPaymentMethod, statusRequiresConfirmation, statusRequiresAction:
		if r.Kind != KindAuthorize {
			break
		}
		if intent.Status == statusRequiresPaymentMethod && intent.LastPaymentError != nil {
			return declined(*intent.LastPaymentError, intent.ID)
		}
		return NotFound{IntentRef: intent.ID}
	case statusRequiresCapture:
		if r.Kind == KindAuthorize {
			return authorized(r, intent, intent.AmountCapturable)
		}
		return NotFound{IntentRef: intent.ID}
	case statusSucceeded:
		switch r.Kind {
		case KindAuthorize:
			return authorized(r, intent, intent.AmountReceived)
		case KindCapture:
			if intent.AmountReceived != r.Amount.Minor {
				break
			}
			return Succeeded{Ref: proof(intent), IntentRef: intent.ID}
		case KindVoid:
			return Refused{
				Class: FailureBug, Code: CodeAlreadyCaptured, IntentRef: intent.ID,
				Detail: "the provider has charged intent " + intent.ID,
			}
		}
	case statusCanceled:
		if r.Kind == KindVoid && intent.CancellationReason != "automatic" {
			return Succeeded{Ref: intent.ID, IntentRef: intent.ID}
		}
		return Refused{
			Class: FailureExpired, Code: CodeAuthorizationExpired, IntentRef: intent.ID,
			Detail: fmt.Sprintf("intent %s is canceled at the provider (%s)", intent.ID, plainText(intent.CancellationReason)),
		}
	}
	return Unknown{DoubtMismatch, fmt.Sprintf("intent %s is %s with %d capturable and %d received, asked was to %s %s",
		intent.ID, plainText(intent.Status), intent.AmountCapturable, intent.AmountReceived, r.Kind, r.Amount)}
}

// latestInstant is the last second that a date of four digits can say; what lies behind it is no date.
var latestInstant = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()

func authorized(r Request, intent paymentIntent, amount int64) Outcome {
	if amount != r.Amount.Minor {
		return Unknown{DoubtMismatch, fmt.Sprintf("intent %s blocks %d, asked was %s", intent.ID, amount, r.Amount)}
	}
	s := Succeeded{Ref: proof(intent), IntentRef: intent.ID}
	if intent.CaptureBefore > 0 && intent.CaptureBefore <= latestInstant {
		s.CaptureBefore = time.Unix(intent.CaptureBefore, 0).UTC()
	}
	return s
}

func proof(intent paymentIntent) string {
	if usable(intent.LatestCharge) {
		return intent.LatestCharge
	}
	return intent.ID
}

func declined(e apiError, ref string) Outcome {
	code := CodeCardDeclined
	if e.Code == CodeInsufficientFunds || e.DeclineCode == CodeInsufficientFunds {
		code = CodeInsufficientFunds
	}
	return Refused{Class: FailureDeclined, Code: code, Detail: e.String(), IntentRef: ref}
}

// classify reads what an answer other than 200 allows to conclude. Everything that is not provably a no is Unknown.
func classify(r Request, status int, body []byte) Outcome {
	e := readError(body)
	ref := ""
	if e.PaymentIntent != nil && !usable(e.PaymentIntent.ID) {
		e.PaymentIntent = nil
	}
	if e.PaymentIntent != nil {
		ref = e.PaymentIntent.ID
	}
	detail := fmt.Sprintf("HTTP %d %s", status, e)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Unknown{DoubtConfig, detail}
	case status == http.StatusConflict, status == http.StatusTooManyRequests, e.Code == "lock_timeout":
		return Unknown{DoubtBusy, detail}
	case status >= http.StatusInternalServerError:
		return Unknown{DoubtProviderError, detail}
	case status == http.StatusPaymentRequired:
		return declined(e, ref)
	case status != http.StatusBadRequest && status != http.StatusUnprocessableEntity:
		// 404 among them: the provider does not know an intent that it gave us.
		return Unknown{DoubtMismatch, detail}
	case e.Type == "idempotency_error":
		// Another request went out under this key, and may have had the effect: no proof of a no.
		return Unknown{DoubtMismatch, detail}
	case e.Code == "charge_expired_for_capture", e.Code == "capture_charge_authorization_expired":
		return Refused{Class: FailureExpired, Code: CodeAuthorizationExpired, Detail: detail, IntentRef: ref}
	case e.Code == "payment_intent_unexpected_state" && e.PaymentIntent != nil:
		outcome := judge(r, *e.PaymentIntent)
		if _, missing := outcome.(NotFound); missing {
			return Unknown{DoubtMismatch, detail}
		}
		return outcome
	case e.Code == "resource_missing" && e.Param == "payment_method":
		return Refused{Class: FailureInvalid, Code: CodeInvalidPaymentMethod, Detail: detail}
	case e.Type == "invalid_request_error":
		return Refused{Class: FailureBug, Code: CodeProviderRejected, Detail: detail, IntentRef: ref}
	}
	return Unknown{DoubtMismatch, detail}
}
