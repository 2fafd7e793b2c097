package httpserver

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const quickSchemas = `{
  "type": "object", "additionalProperties": false, "required": ["shop", "lines"], "properties": {
    "shop": {"type": "string", "minLength": 1, "maxLength": 3, "description": "not empty"},
    "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    "note": {"type": ["string", "null"]},
    "id": {"type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["a", "EUR"]},
    "total": {"type": "integer", "format": "int64", "minimum": 0},
    "small": {"type": "integer", "format": "int32"},
    "rate": {"type": "number", "maximum": 2},
    "sure": {"type": "boolean"},
    "shown": {"type": "object", "properties": {"at": {"type": "string", "readOnly": true}}},
    "lines": {"type": "array", "minItems": 1, "maxItems": 2, "items": {
      "type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 5}}}}
  }
}`

// What the quick look lets pass, the library lets pass too, and what is sound passes quickly.
func TestQuick(t *testing.T) {
	t.Parallel()
	var s openapi3.Schema
	require.NoError(t, json.Unmarshal([]byte(quickSchemas), &s))
	options := []openapi3.SchemaValidationOption{openapi3.VisitAsRequest(), openapi3.MultiErrors()}
	check := newQuick(&s, options)
	for _, sound := range []string{
		`{"shop":"äöü","lines":[{"n":5},{"n":1,"more":null}],"currency":"EUR","note":null,"kind":"a","total":0,"small":-7}`,
		`{"shop":"a","lines":[{"n":2}],"rate":1.5,"sure":true,"shown":{}}`,
	} {
		require.True(t, check(decoded(t, sound)), sound)
	}
	leaf := rapid.SampledFrom([]string{
		`""`, `"a"`, `"EUR"`, `"long"`, `"äöü"`, `"\ud800"`, `null`, `true`, `0`, `-0`, `-1`, `1`, `5`, `6`, `1.0`, `1.5`, `1e2`,
		`2147483648`, `9007199254740993`, `9223372036854775807`, `9223372036854775808`, `1e999`, `[]`, `[{"n":1}]`, `[{"n":6}]`,
		`[{"n":1},{"n":2},{"n":3}]`, `[{}]`, `[null]`, `{}`, `{"at":"x"}`, `"0198f0a0-0000-7000-8000-000000000000"`,
	})
	name := rapid.SampledFrom([]string{
		"shop", "currency", "note", "id", "kind", "total", "small", "rate", "sure", "shown", "lines", "more",
	})
	rapid.Check(t, func(t *rapid.T) {
		members := []string{`"shop":"a"`, `"lines":[{"n":1}]`}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			members = append(members, `"`+name.Draw(t, "name")+`":`+leaf.Draw(t, "value"))
		}
		document := "{" + strings.Join(members[rapid.IntRange(0, 2).Draw(t, "from"):], ",") + "}"
		value := decoded(t, document)
		if err := s.VisitJSON(value, options...); check(value) {
			require.NoError(t, err, document)
		}
	})
}

func decoded(t require.TestingT, document string) (value any) {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value))
	return value
}
