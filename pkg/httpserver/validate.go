package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// validator checks requests against an OpenAPI document.
type validator struct {
	// operations by method and echo's form of the path: echo has done the routing, there is no second router.
	operations map[string]*routers.Route
	options    *openapi3filter.Options
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func newValidator(spec *openapi3.T) (*validator, error) {
	if err := spec.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is not valid: %w", err)
	}
	if err := refuseUncheckedKeywords(spec); err != nil {
		return nil, err
	}
	// For a document of version 3.1 the library would compile every schema anew for every request. Its own validator
	// knows all of 3.1 that we use (refuseUncheckedKeywords sees to that), so it is told that this is 3.0.
	asThreeZero := *spec
	asThreeZero.OpenAPI = "3.0.3"
	v := &validator{
		operations: make(map[string]*routers.Route),
		options: &openapi3filter.Options{
			MultiError: true,
			// Defaults are the handlers' affair; rewriting the body would only cost time.
			SkipSettingDefaults: true,
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{
				openapi3.WithStringFormatValidator("uuid", formatFunc(func(s string) error { return uuid.Validate(s) })),
				openapi3.WithStringFormatValidator("date-time", formatFunc(func(s string) error {
					_, err := time.Parse(time.RFC3339, s)
					return err
				})),
			},
		},
	}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			v.operations[method+" "+pathParameter.ReplaceAllString(path, ":$1")] = &routers.Route{
				Spec: &asThreeZero, Path: path, PathItem: item, Method: method, Operation: operation,
			}
		}
	}
	return v, nil
}

type formatFunc func(string) error

func (f formatFunc) Validate(s string) error { return f(s) }

// refuseUncheckedKeywords stops a document with keywords that would be passed over in silence.
func refuseUncheckedKeywords(spec *openapi3.T) error {
	var errs []error
	see := func(where string, ref *openapi3.SchemaRef) {
		s := ref.Value
		if s == nil {
			return
		}
		if s.Const != nil || len(s.PrefixItems) > 0 || s.Contains != nil || len(s.PatternProperties) > 0 ||
			len(s.DependentSchemas) > 0 || s.PropertyNames != nil || s.UnevaluatedItems.Schema != nil ||
			s.UnevaluatedProperties.Schema != nil || s.UnevaluatedItems.Has != nil || s.UnevaluatedProperties.Has != nil ||
			s.If != nil || len(s.DependentRequired) > 0 || len(s.Defs) > 0 || s.ContentSchema != nil {
			errs = append(errs, fmt.Errorf("the OpenAPI document uses at %s a keyword that requests are not checked for "+
				"(const, if, prefixItems, contains, patternProperties, ...): use enum, oneOf, items instead", where))
		}
	}
	walk := func(where string, ref *openapi3.SchemaRef) {
		if ref != nil {
			errs = append(errs, ref.WalkSubtree(func(path string, r *openapi3.SchemaRef) error {
				see(where+path, r)
				return nil
			}))
		}
	}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				walk(method+" "+path+" "+parameter.Value.Name, parameter.Value.Schema)
			}
			if operation.RequestBody != nil {
				for media, content := range operation.RequestBody.Value.Content {
					walk(method+" "+path+" "+media, content.Schema)
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (v *validator) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		route, ok := v.operations[c.Request().Method+" "+c.Path()]
		if !ok {
			return next(c) // health, console and the like
		}
		if problem := v.validate(c, route); problem != nil {
			return problem
		}
		return next(c)
	}
}

// validate returns the problem as an error, so that no problem is a nil error and not a nil *Problem.
func (v *validator) validate(c echo.Context, route *routers.Route) error {
	request := c.Request()
	if route.Operation.RequestBody != nil {
		if err := checkMediaType(request); err != nil {
			return err
		}
	}
	if err := checkText(request, route.Operation.RequestBody != nil); err != nil {
		return err
	}
	parameters := make(map[string]string, len(c.ParamNames()))
	for i, name := range c.ParamNames() {
		parameters[name] = c.ParamValues()[i]
	}
	err := openapi3filter.ValidateRequest(request.Context(), &openapi3filter.RequestValidationInput{
		Request: request, PathParams: parameters, Route: route, Options: v.options,
	})
	if err == nil {
		return nil
	}
	return validationProblem(err)
}

// checkMediaType wants JSON in UTF-8 and not compressed.
func checkMediaType(r *http.Request) error {
	if r.ContentLength == 0 && r.Header.Get(echo.HeaderContentType) == "" {
		return nil // no body; whether one is required is the document's affair
	}
	if encoding := r.Header.Get(echo.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return NewProblem(CodeUnsupportedMediaType, "Send the body without Content-Encoding.")
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType))
	if err != nil || media != echo.MIMEApplicationJSON {
		return NewProblem(CodeUnsupportedMediaType, "Send the header Content-Type: application/json.")
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return NewProblem(CodeUnsupportedMediaType, "Send the body in UTF-8.")
	}
	return nil
}

// checkText refuses what a text column cannot hold: broken UTF-8 and the zero character. Decoders let both pass.
func checkText(r *http.Request, hasBody bool) error {
	if hasBody && r.GetBody != nil {
		reader, err := r.GetBody()
		if err != nil {
			return fmt.Errorf("reading the body again: %w", err)
		}
		body, err := io.ReadAll(reader)
		if err != nil {
			return fmt.Errorf("reading the body again: %w", err)
		}
		if !utf8.Valid(body) {
			return NewProblem(CodeMalformedJSON, "The body is not UTF-8.")
		}
		// The library decodes the first document and passes over what follows it.
		if err := json.Unmarshal(body, new(json.RawMessage)); len(body) > 0 && err != nil {
			return NewProblem(CodeMalformedJSON, "The body is not JSON: "+syntaxFault(err)+".", WithCause(err))
		}
		if bytes.Contains(body, []byte(`\u0000`)) {
			var document any
			if err := json.Unmarshal(body, &document); err == nil {
				if faults := zeroCharacters(document, "", nil); len(faults) > 0 {
					return NewProblem(CodeValidationFailed, "The body holds text that cannot be stored.", WithErrors(faults...))
				}
			}
		}
	}
	for name, values := range r.URL.Query() {
		if slices.ContainsFunc(values, unstorable) || unstorable(name) {
			return NewProblem(CodeValidationFailed, "A query parameter holds text that cannot be stored.",
				WithErrors(FieldError{
					Parameter: strings.ToValidUTF8(name, "?"), In: "query", Code: "text",
					Detail: "must be UTF-8 without the character U+0000",
				}))
		}
	}
	if unstorable(r.URL.Path) {
		return NewProblem(CodeNotFound, "The path is not UTF-8 or holds the character U+0000.")
	}
	return nil
}

// syntaxFault says where JSON ends to be JSON.
func syntaxFault(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%v, after %d bytes", syntax, syntax.Offset)
	}
	return err.Error()
}

func unstorable(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) }

func zeroCharacters(value any, pointer string, faults []FieldError) []FieldError {
	switch value := value.(type) {
	case string:
		if strings.ContainsRune(value, 0) {
			faults = append(faults, FieldError{Pointer: pointer, Code: "text", Detail: "must not contain the character U+0000"})
		}
	case []any:
		for i, item := range value {
			faults = zeroCharacters(item, pointer+"/"+strconv.Itoa(i), faults)
		}
	case map[string]any:
		for key, item := range value {
			if strings.ContainsRune(key, 0) {
				faults = append(faults, FieldError{Pointer: pointer, Code: "text", Detail: "a name contains the character U+0000"})
			}
			faults = zeroCharacters(item, pointer+"/"+escapePointer(key), faults)
		}
	}
	return faults
}

func escapePointer(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}
