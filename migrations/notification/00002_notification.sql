-- +goose Up

-- What is said. The text is Go text/template and html/template source; the version names it in each notification.
CREATE TABLE template (
    key     text NOT NULL CHECK (key <> ''),
    locale  text NOT NULL CHECK (locale ~ '^[a-z]{2}$'),
    version int  NOT NULL CHECK (version > 0),
    subject text NOT NULL CHECK (subject <> ''),
    text    text NOT NULL CHECK (text <> ''),
    html    text NOT NULL CHECK (html <> ''),
    active  bool NOT NULL,
    PRIMARY KEY (key, locale, version)
);

CREATE UNIQUE INDEX one_active_template ON template (key, locale) WHERE active;

-- What is said to whom, once: the dedupe key is order:template:occurrence, and of each there is one notification that
-- is not proven to have stayed here. The rendered mail is stored, so that a second try sends the same bytes under the
-- same Message-ID.
CREATE TABLE notification (
    notification_id  uuid        PRIMARY KEY,
    dedupe_key       text        NOT NULL,
    order_id         uuid        NOT NULL,
    saga_id          uuid        NOT NULL,
    step             text        NOT NULL,
    generation       int         NOT NULL,
    channel          text        NOT NULL CHECK (channel IN ('email')),
    address          text        NOT NULL CHECK (address <> ''),
    name             text        NOT NULL,
    reference        text        NOT NULL,
    template_key     text        NOT NULL,
    template_locale  text        NOT NULL,
    template_version int         NOT NULL,
    subject          text        NOT NULL,
    text             text        NOT NULL,
    html             text        NOT NULL,
    state            text        NOT NULL CHECK (state IN ('queued', 'in_doubt', 'sent', 'suppressed', 'bounced',
                                                           'undeliverable', 'unknown')),
    -- The server's last word on it, or ours when it was not sent.
    detail           text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL,
    decided_at       timestamptz,
    FOREIGN KEY (template_key, template_locale, template_version) REFERENCES template (key, locale, version),
    CONSTRAINT decided_has_time CHECK ((state IN ('queued', 'in_doubt')) = (decided_at IS NULL))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX once ON notification (dedupe_key) WHERE state NOT IN ('suppressed', 'bounced', 'undeliverable');
CREATE INDEX notification_by_order ON notification (order_id);

-- One row a try, written before it: a row without an outcome may have been delivered.
CREATE TABLE delivery_attempt (
    notification_id uuid        NOT NULL REFERENCES notification,
    attempt_no      int         NOT NULL CHECK (attempt_no > 0),
    sent_at         timestamptz NOT NULL,
    ended_at        timestamptz,
    outcome         text        CHECK (outcome IN ('accepted', 'refused', 'not_sent', 'unknown')),
    smtp_code       int,
    detail          text        NOT NULL DEFAULT '',
    PRIMARY KEY (notification_id, attempt_no),
    CONSTRAINT ended_has_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 70);

-- The last status of an order that the orders events topic told, newest revision only. It is asked before each try:
-- an order that is being cancelled gets no confirmation any more.
CREATE TABLE order_claim (
    order_id   uuid        PRIMARY KEY,
    status     text        NOT NULL CHECK (status IN ('accepted', 'confirmed', 'completed', 'cancelling', 'cancelled',
                                                      'closed')),
    revision   bigint      NOT NULL CHECK (revision > 0),
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);

INSERT INTO template (key, locale, version, subject, text, html, active)
VALUES ('order_confirmation', 'en', 1,
        'Your order {{.Reference}} is confirmed',
        $t$Hello {{.Name}},

thank you for your order {{.Reference}}. It is confirmed and paid.

{{range .Lines}}{{.Quantity}} x {{.Name}}  {{.Amount}}
{{end}}
Total (with shipping, taxes and discounts): {{.Total}}
{{if .TrackingNumber}}
It travels with {{.Carrier}}, tracking number {{.TrackingNumber}}.
{{end}}$t$,
        $t$<!doctype html>
<html lang="en"><body>
<p>Hello {{.Name}},</p>
<p>thank you for your order <strong>{{.Reference}}</strong>. It is confirmed and paid.</p>
<table>
{{range .Lines}}<tr><td>{{.Quantity}} x</td><td>{{.Name}}</td><td>{{.Amount}}</td></tr>
{{end}}<tr><td></td><td>Total (with shipping, taxes and discounts)</td><td><strong>{{.Total}}</strong></td></tr>
</table>
{{if .TrackingNumber}}<p>It travels with {{.Carrier}}, tracking number {{.TrackingNumber}}.</p>
{{end}}</body></html>
$t$, true),
       ('order_confirmation', 'de', 1,
        U&'Ihre Bestellung {{.Reference}} ist best\00E4tigt',
        U&'Guten Tag {{.Name}},

vielen Dank f\00FCr Ihre Bestellung {{.Reference}}. Sie ist best\00E4tigt und bezahlt.

{{range .Lines}}{{.Quantity}} x {{.Name}}  {{.Amount}}
{{end}}
Summe (mit Versand, Steuern und Rabatten): {{.Total}}
{{if .TrackingNumber}}
Sie reist mit {{.Carrier}}, Sendungsnummer {{.TrackingNumber}}.
{{end}}',
        $t$<!doctype html>
<html lang="de"><body>
<p>Guten Tag {{.Name}},</p>
<p>vielen Dank f&uuml;r Ihre Bestellung <strong>{{.Reference}}</strong>. Sie ist best&auml;tigt und bezahlt.</p>
<table>
{{range .Lines}}<tr><td>{{.Quantity}} x</td><td>{{.Name}}</td><td>{{.Amount}}</td></tr>
{{end}}<tr><td></td><td>Summe (mit Versand, Steuern und Rabatten)</td><td><strong>{{.Total}}</strong></td></tr>
</table>
{{if .TrackingNumber}}<p>Sie reist mit {{.Carrier}}, Sendungsnummer {{.TrackingNumber}}.</p>
{{end}}</body></html>
$t$, true);

-- +goose Down
DROP TABLE delivery_attempt, notification, template, order_claim;
