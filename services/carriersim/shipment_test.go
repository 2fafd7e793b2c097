package carriersim_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/carriersim"
)

func TestCarrier_the_way_of_a_label(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	shipment := c.create("10115")
	require.Equal(t, carriersim.Unknown, shipment.Status)
	require.Equal(t, "5.90", shipment.Rates[0].Rate)
	require.Equal(t, "13.90", shipment.Rates[1].Rate)
	require.Nil(t, shipment.TrackingCode)
	require.Empty(t, c.Ledger(), "creating costs nothing")

	bought, err := c.buy(shipment)
	require.NoError(t, err)
	require.Equal(t, carriersim.PreTransit, bought.Status)
	require.Equal(t, shipment.Rates[0], *bought.SelectedRate)
	require.NotEmpty(t, *bought.TrackingCode)
	require.Equal(t, bought, c.get(shipment), "GET tells the same")
	label := c.must("GET", strings.TrimPrefix(bought.PostageLabel.URL, c.URL()), "")
	require.Contains(t, label.body, *bought.TrackingCode)

	again, err := c.buy(shipment)
	require.NoError(t, err)
	require.Equal(t, "shipment_already_bought", again.Error.Code)

	refunded, err := c.refund(shipment)
	require.NoError(t, err)
	require.Equal(t, carriersim.Cancelled, refunded.Status)
	require.Equal(t, "refunded", *refunded.RefundStatus)
	again, err = c.refund(shipment)
	require.NoError(t, err)
	require.Equal(t, "refund_not_allowed", again.Error.Code)
	again, err = c.buy(shipment)
	require.NoError(t, err)
	require.Equal(t, "shipment_already_bought", again.Error.Code, "a refunded label does not come back")

	ledger := c.Ledger()
	require.Len(t, ledger, 2)
	require.Equal(t, carriersim.LabelBought, ledger[0].Kind)
	require.Equal(t, carriersim.LabelRefunded, ledger[1].Kind)
	for i, entry := range ledger {
		require.Equal(t, int64(i+1), entry.Seq)
		require.Equal(t, "ref-1", entry.Reference)
		require.Equal(t, *bought.TrackingCode, entry.TrackingCode)
		require.Equal(t, int64(590), entry.Amount)
	}
	require.Equal(t, carriersim.Totals{
		Shipments: 1, LabelsBought: 1, LabelsRefunded: 1,
		Currencies: []carriersim.Sums{{Currency: "EUR", Bought: 590, Refunded: 590}},
	}, c.Totals())
}

func TestCarrier_lists_by_reference(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	first, second := c.create("10115"), c.create("10115")
	c.must("POST", "/v1/shipments", strings.Replace(parcelTo("DE", "10115"), "ref-1", "ref-2", 1))
	list := c.must("GET", "/v1/shipments?reference=ref-1&page_size=1", "")
	require.Contains(t, list.body, second.ID)
	require.NotContains(t, list.body, first.ID)
	require.Contains(t, list.body, `"has_more":true`)
	list = c.must("GET", "/v1/shipments?reference=ref-1&before_id="+second.ID, "")
	require.Contains(t, list.body, first.ID)
	require.Contains(t, list.body, `"has_more":false`)
	list = c.must("GET", "/v1/shipments?reference=nobody", "")
	require.JSONEq(t, `{"shipments":[],"has_more":false}`, list.body)

	for _, shipment := range []response{first, second} {
		_, err := c.buy(shipment)
		require.NoError(t, err)
	}
	require.Equal(t, 1, c.Totals().DoubledReferences, "the carrier sells it, the totals tell it")
}

func TestCarrier_one_label_however_many_ask(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	shipment := c.create("10115")
	wait := sync.WaitGroup{}
	for range 50 {
		wait.Go(func() {
			_, err := c.buy(shipment)
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	require.Len(t, c.Ledger(), 1)
	for range 50 {
		wait.Go(func() {
			_, err := c.refund(shipment)
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	require.Len(t, c.Ledger(), 2)
	require.Zero(t, c.Totals().LabelsLive)
}

func TestCarrier_bad_input(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	shipment := c.create("10115")
	good := parcelTo("DE", "10115")
	cases := []struct {
		name, request, body string
		status              int
		code, says          string
	}{
		{"no body", "POST /shipments", ``, 400, "bad_request", "shipment"},
		{"not JSON", "POST /shipments", `reference=1`, 400, "bad_request", ""},
		{"unknown field", "POST /shipments", `{"referenze":1}`, 400, "bad_request", "referenze"},
		{"nothing in it", "POST /shipments", `{}`, 422, "invalid_params", "to_address.zip"},
		{"country", "POST /shipments", strings.Replace(good, "DE", "de", 1), 422, "invalid_params", "to_address.country"},
		{"weight", "POST /shipments", strings.Replace(good, ":20", ":-1", 1), 422, "invalid_params", "parcel.weight"},
		{"quantity", "POST /shipments", strings.Replace(good, ":2}", ":0}", 1), 422, "invalid_params", "items"},
		{"too heavy", "POST /shipments", strings.Replace(good, ":20", ":1121", 1), 422, "weight_limit", ""},
		{"huge body", "POST /shipments", strings.Repeat(" ", 300<<10), 413, "body_too_large", ""},
		{"buy unknown", "POST /shipments/shp_none/buy", `{"rate":{"id":"x"}}`, 404, "not_found", "shp_none"},
		{"buy without rate", "POST /shipments/" + shipment.ID + "/buy", ``, 400, "bad_request", "rate"},
		{"unknown rate", "POST /shipments/" + shipment.ID + "/buy", `{"rate":{"id":"x"}}`, 422, "rate_not_found", ""},
		{"refund unknown", "POST /shipments/shp_none/refund", ``, 404, "not_found", ""},
		{"refund of nothing", "POST /shipments/" + shipment.ID + "/refund", ``, 422, "shipment_not_bought", ""},
		{"unknown shipment", "GET /shipments/shp_none", ``, 404, "not_found", ""},
		{"misspelt filter", "GET /shipments?ref=1", ``, 400, "bad_request", "ref"},
		{"bad page", "GET /shipments?page_size=0", ``, 400, "bad_request", "page_size"},
		{"no such route", "GET /trackers", ``, 404, "not_found", "/v1/trackers"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tc.request, " ")
			r := c.must(method, "/v1"+path, tc.body)
			require.Equal(t, tc.status, r.status, r.body)
			require.Equal(t, tc.code, r.Error.Code)
			require.Contains(t, r.body, tc.says)
		})
	}
	require.Equal(t, http.StatusNotFound, c.must("GET", "/labels/none.txt", "").status)
	require.Empty(t, c.Ledger())
}

func TestCarrier_api_key(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{APIKey: "EZTK"})
	r := c.must("GET", "/v1/shipments", "")
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Equal(t, "unauthorized", r.Error.Code)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL()+"/v1/shipments", nil)
	require.NoError(t, err)
	request.SetBasicAuth("EZTK", "")
	answer, err := c.client.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestNew_refuses_bad_config(t *testing.T) {
	t.Parallel()

	_, err := carriersim.New(carriersim.Config{LateDelay: -1, SlowDelay: -1, Currency: "XXX"}, nil)
	for _, setting := range []string{"LATE_DELAY", "SLOW_DELAY", "CURRENCY"} {
		require.ErrorContains(t, err, setting)
	}
}
