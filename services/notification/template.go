package notification

import (
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"

	"recourse.dev/pkg/money"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
)

// source is one active row of the table template.
type source struct {
	Key     string
	Locale  string
	Version int32
	Subject string
	Text    string
	HTML    string
}

// content is a mail as it will be sent.
type content struct {
	Locale  string
	Version int32
	Subject string
	Text    string
	HTML    string
}

// compiled is a source that can be run.
type compiled struct {
	source
	subject *texttemplate.Template
	text    *texttemplate.Template
	html    *htmltemplate.Template
}

func compile(s source) (*compiled, error) {
	c := &compiled{source: s}
	var err error
	if c.subject, err = texttemplate.New("subject").Parse(s.Subject); err == nil {
		if c.text, err = texttemplate.New("text").Parse(s.Text); err == nil {
			c.html, err = htmltemplate.New("html").Parse(s.HTML)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("parsing template %s %s version %d: %w", s.Key, s.Locale, s.Version, err)
	}
	return c, nil
}

// confirmation is what the templates of order_confirmation may name.
type confirmation struct {
	Name           string
	Reference      string
	Lines          []confirmationLine
	Total          string
	TrackingNumber string
	Carrier        string
}

type confirmationLine struct {
	Name     string
	Quantity int64
	Amount   string
}

// newConfirmation reads the command. Its error is the command's fault.
func newConfirmation(in *notificationv1.SendConfirmation) (confirmation, error) {
	currency, err := money.ParseCurrency(in.GetTotal().GetCurrency())
	if err != nil {
		return confirmation{}, fmt.Errorf("total: %w", err)
	}
	total, err := money.New(in.GetTotal().GetMinor(), currency)
	if err != nil {
		return confirmation{}, fmt.Errorf("total: %w", err)
	}
	c := confirmation{
		Name: oneLine(in.GetName()), Reference: oneLine(in.GetReference()), Total: total.String(),
		TrackingNumber: oneLine(in.GetTrackingNumber()), Carrier: oneLine(in.GetCarrier()),
	}
	for _, line := range in.GetLines() {
		price, err := money.New(line.GetUnitPriceMinor(), currency)
		if err != nil {
			return confirmation{}, fmt.Errorf("line %s: %w", line.GetLineId(), err)
		}
		amount, err := price.Mul(line.GetQuantity())
		if err != nil {
			return confirmation{}, fmt.Errorf("line %s: %w", line.GetLineId(), err)
		}
		name := oneLine(line.GetName())
		if name == "" {
			name = oneLine(line.GetSku())
		}
		c.Lines = append(c.Lines, confirmationLine{Name: name, Quantity: line.GetQuantity(), Amount: amount.String()})
	}
	return c, nil
}

// render fills the template in. Its error is the template's fault.
func (c *compiled) render(data any) (content, error) {
	var subject, text, html strings.Builder
	for _, part := range []struct {
		into *strings.Builder
		run  func(into *strings.Builder) error
	}{
		{&subject, func(into *strings.Builder) error { return c.subject.Execute(into, data) }},
		{&text, func(into *strings.Builder) error { return c.text.Execute(into, data) }},
		{&html, func(into *strings.Builder) error { return c.html.Execute(into, data) }},
	} {
		if err := part.run(part.into); err != nil {
			return content{}, fmt.Errorf("rendering template %s %s version %d: %w", c.Key, c.Locale, c.Version, err)
		}
	}
	return content{
		Locale: c.Locale, Version: c.Version, Subject: oneLine(subject.String()), Text: text.String(), HTML: html.String(),
	}, nil
}
