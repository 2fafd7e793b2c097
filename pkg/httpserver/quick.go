package httpserver

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// quick says that a value certainly follows a schema. False is no verdict: the library is asked then, which also has the
// words for what is wrong. Nearly all requests are right, and for those its care costs four times as much.
type quick func(value any) bool

// newQuick is exact where it understands every keyword of a schema, and asks the library about a part that it does not.
func newQuick(s *openapi3.Schema, options []openapi3.SchemaValidationOption, within ...*openapi3.Schema) quick {
	ask := func(value any) bool { return s.VisitJSON(value, options...) == nil }
	if s.Type == nil || len(*s.Type) != 1 || slices.Contains(within, s) {
		return ask
	}
	within = append(slices.Clone(within), s)
	part := func(ref *openapi3.SchemaRef) quick { return newQuick(ref.Value, options, within...) }
	// What is left of the schema when the keywords that are understood are taken away must be nothing.
	rest := *s
	rest.Type, rest.Extensions, rest.Origin, rest.Title, rest.Description, rest.Comment = nil, nil, nil, "", "", ""
	rest.Default, rest.Example, rest.Examples, rest.ExternalDocs, rest.Deprecated = nil, nil, nil, nil, false
	check := ask
	switch (*s.Type)[0] {
	case openapi3.TypeString:
		rest.MinLength, rest.MaxLength, rest.Pattern = 0, nil, ""
		if pattern, err := regexp.Compile(s.Pattern); err == nil {
			check = quickString(s, pattern)
		}
	case openapi3.TypeInteger:
		rest.Min, rest.Max = nil, nil
		if s.Format == "int64" {
			rest.Format = "" // see exactly
		}
		check = quickInteger(s)
	case openapi3.TypeArray:
		rest.MinItems, rest.MaxItems, rest.Items = 0, nil, nil
		if s.Items != nil {
			check = quickArray(s, part(s.Items))
		}
	case openapi3.TypeObject:
		rest.Required, rest.Properties, rest.AdditionalProperties.Has = nil, nil, nil
		properties := make(map[string]quick, len(s.Properties))
		for name, ref := range s.Properties {
			if ref.Value.ReadOnly {
				return ask
			}
			properties[name] = part(ref)
		}
		check = quickObject(s, properties)
	}
	if !reflect.ValueOf(rest).IsZero() {
		return ask
	}
	return check
}

func quickString(s *openapi3.Schema, pattern *regexp.Regexp) quick {
	return func(value any) bool {
		text, ok := value.(string)
		if !ok {
			return false
		}
		n := uint64(utf8.RuneCountInString(text))
		return n >= s.MinLength && (s.MaxLength == nil || n <= *s.MaxLength) && (s.Pattern == "" || pattern.MatchString(text))
	}
}

// exactly is up to where the library, which counts in floating point, counts as we do.
const exactly = 1 << 53

func quickInteger(s *openapi3.Schema) quick {
	return func(value any) bool {
		text, ok := value.(json.Number)
		if !ok {
			return false
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		return err == nil && -exactly < n && n < exactly &&
			(s.Min == nil || float64(n) >= *s.Min) && (s.Max == nil || float64(n) <= *s.Max)
	}
}

func quickArray(s *openapi3.Schema, item quick) quick {
	return func(value any) bool {
		list, ok := value.([]any)
		if !ok || uint64(len(list)) < s.MinItems || s.MaxItems != nil && uint64(len(list)) > *s.MaxItems {
			return false
		}
		for _, one := range list {
			if !item(one) {
				return false
			}
		}
		return true
	}
}

func quickObject(s *openapi3.Schema, properties map[string]quick) quick {
	open := s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has
	return func(value any) bool {
		object, ok := value.(map[string]any)
		if !ok {
			return false
		}
		for _, name := range s.Required {
			if _, ok := object[name]; !ok {
				return false
			}
		}
		for name, one := range object {
			if check, ok := properties[name]; !ok && !open || ok && !check(one) {
				return false
			}
		}
		return true
	}
}

// newQuickParameter is the same for a parameter of a request. It understands text in a header.
func newQuickParameter(p *openapi3.Parameter, options []openapi3.SchemaValidationOption) func(*http.Request) bool {
	if p.In != openapi3.ParameterInHeader || p.Content != nil || p.Style != "" || p.Schema == nil ||
		p.Schema.Value.Type == nil || !p.Schema.Value.Type.Is(openapi3.TypeString) {
		return func(*http.Request) bool { return false }
	}
	name, check := http.CanonicalHeaderKey(p.Name), newQuick(p.Schema.Value, options)
	return func(r *http.Request) bool {
		values, found := r.Header[name]
		if !found {
			return !p.Required
		}
		return len(values) > 0 && values[0] != "" && check(values[0])
	}
}
