package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
)

// Admin adds the calls that every simulator has beside its provider's API: faults, outage, webhooks and health.
func (p *Provider) Admin(mux *http.ServeMux, hooks *Hooks, log *slog.Logger) {
	Health(mux)
	mux.HandleFunc("GET /admin/webhooks", func(w http.ResponseWriter, _ *http.Request) {
		Respond(w, hooks.Stats())
	})
	mux.HandleFunc("GET /admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		Respond(w, append([]Rule{}, p.Faults.Rules()...))
	})
	mux.HandleFunc("PUT /admin/faults", func(w http.ResponseWriter, r *http.Request) {
		rule := Rule{}
		if admit(w, r, &rule, func() error { return p.Faults.Set(rule) }) {
			log.InfoContext(r.Context(), "fault set", "route", rule.Route, "kind", rule.Kind, "count", rule.Count)
		}
	})
	mux.HandleFunc("DELETE /admin/faults", func(w http.ResponseWriter, r *http.Request) {
		p.Faults.Clear()
		log.InfoContext(r.Context(), "faults cleared")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /admin/outage", func(w http.ResponseWriter, r *http.Request) {
		outage := Outage{}
		if admit(w, r, &outage, func() error { return p.SetOutage(outage) }) {
			log.InfoContext(r.Context(), "outage set", "on", outage.On, "mode", outage.Mode)
		}
	})
}

// Health adds the calls by which others see that the server is there.
func Health(mux *http.ServeMux) {
	for _, path := range []string{"/livez", "/readyz"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			Respond(w, map[string]string{"status": "ok"})
		})
	}
}

// Respond writes an admin answer.
func Respond(w http.ResponseWriter, value any) {
	write(w, JSON(http.StatusOK, value))
}

// DecodeStrict reads one JSON document into value; an unknown field or anything after the document is an error.
func DecodeStrict(body []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON document")
	}
	return nil
}

// admit decodes and applies an admin setting, echoes it, and reports whether it was taken.
func admit(w http.ResponseWriter, r *http.Request, value any, apply func() error) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = DecodeStrict(body, value)
	}
	if err == nil {
		err = apply()
	}
	if err != nil {
		write(w, JSON(http.StatusBadRequest, map[string]any{"error": map[string]string{"message": err.Error()}}))
		return false
	}
	Respond(w, value)
	return true
}
