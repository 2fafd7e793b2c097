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
	// operations: echo has done the routing, there is no second router.
	operations map[route]*operation
	options    *openapi3filter.Options
	// ofBody are the options of a look at a body, made once.
	ofBody []openapi3.SchemaValidationOption
}

// route is a method and echo's form of a path.
type route struct{ method, path string }

// operation is what the document says of one.
type operation struct {
	route      *routers.Route
	parameters []parameter
	// body is nil where there is none.
	body *openapi3.RequestBody
	// sound is about the body.
	sound quick
}

type parameter struct {
	*openapi3.Parameter

	// sound is a quick look at it in a request.
	sound func(*http.Request) bool
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
		operations: make(map[route]*operation),
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
	v.ofBody = append([]openapi3.SchemaValidationOption{openapi3.VisitAsRequest(), openapi3.MultiErrors()},
		v.options.SchemaValidationOptions...)
	for path, item := range spec.Paths.Map() {
		for method, described := range item.Operations() {
			one := &operation{route: &routers.Route{
				Spec: &asThreeZero, Path: path, PathItem: item, Method: method, Operation: described,
			}}
			for _, p := range item.Parameters {
				if described.Parameters.GetByInAndName(p.Value.In, p.Value.Name) == nil {
					one.parameters = append(one.parameters, parameter{p.Value, newQuickParameter(p.Value, v.ofBody)})
				}
			}
			for _, p := range described.Parameters {
				one.parameters = append(one.parameters, parameter{p.Value, newQuickParameter(p.Value, v.ofBody)})
			}
			if described.RequestBody != nil {
				one.body = described.RequestBody.Value
				media := one.body.Content[echo.MIMEApplicationJSON]
				if media == nil || media.Schema == nil {
					return nil, fmt.Errorf("the OpenAPI document has at %s %s a body that is no %s with a schema",
						method, path, echo.MIMEApplicationJSON)
				}
				one.sound = newQuick(media.Schema.Value, v.ofBody)
			}
			v.operations[route{method, pathParameter.ReplaceAllString(path, ":$1")}] = one
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
		described, ok := v.operations[route{c.Request().Method, c.Path()}]
		if !ok {
			return next(c) // health, console and the like
		}
		if problem := v.validate(c, described); problem != nil {
			return problem
		}
		return next(c)
	}
}

// validate returns the problem as an error, so that no problem is a nil error and not a nil *Problem. The library would
// read and decode the body once more for itself, and the handler after it; here it is decoded once.
func (v *validator) validate(c echo.Context, described *operation) error {
	request := c.Request()
	var body []byte
	var value any
	if described.body != nil {
		body = Body(request.Context())
		if err := checkMediaType(request); err != nil {
			return err
		}
		var err error
		if value, err = decodeBody(body); err != nil {
			return err
		}
	}
	if err := checkText(request); err != nil {
		return err
	}
	faults := v.faults(c, described, body, value)
	if len(faults) > 0 {
		return validationProblem(faults)
	}
	if len(body) > 0 && described.body != nil {
		request.Body = validatedBody{request.Body, value}
	}
	return nil
}

// faults lists what is wrong with a request.
func (v *validator) faults(c echo.Context, described *operation, body []byte, value any) (faults openapi3.MultiError) {
	request := c.Request()
	var input *openapi3filter.RequestValidationInput
	asked := func() *openapi3filter.RequestValidationInput {
		if input == nil {
			parameters := make(map[string]string, len(c.ParamNames()))
			for i, name := range c.ParamNames() {
				parameters[name] = c.ParamValues()[i]
			}
			input = &openapi3filter.RequestValidationInput{
				Request: request, PathParams: parameters, Route: described.route, Options: v.options,
			}
		}
		return input
	}
	for _, p := range described.parameters {
		if p.sound(request) {
			continue
		}
		if err := openapi3filter.ValidateParameter(request.Context(), asked(), p.Parameter); err != nil {
			faults = append(faults, err)
		}
	}
	if described.body == nil || len(body) > 0 && described.sound(value) {
		return faults
	}
	if err := v.validateBody(described.body, body, value); err != nil {
		faults = append(faults, &openapi3filter.RequestError{Input: asked(), RequestBody: described.body, Err: err})
	}
	return faults
}

func (v *validator) validateBody(described *openapi3.RequestBody, body []byte, value any) error {
	if len(body) == 0 {
		if described.Required {
			return openapi3filter.ErrInvalidRequired
		}
		return nil
	}
	return described.Content[echo.MIMEApplicationJSON].Schema.Value.VisitJSON(value, v.ofBody...)
}

// validatedBody gives generated handlers the value that was validated, so that they need not decode it once more.
type validatedBody struct {
	io.ReadCloser

	value any
}

func (b validatedBody) ValidatedValue() any { return b.value }

// checkMediaType wants JSON in UTF-8 and not compressed.
func checkMediaType(r *http.Request) error {
	if r.ContentLength == 0 && r.Header.Get(echo.HeaderContentType) == "" {
		return nil // no body; whether one is required is the document's affair
	}
	if encoding := r.Header.Get(echo.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return NewProblem(CodeUnsupportedMediaType, "Send the body without Content-Encoding.")
	}
	if r.Header.Get(echo.HeaderContentType) == echo.MIMEApplicationJSON {
		return nil // as nearly all say it
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

var errAnotherDocument = errors.New("something follows the document")

// decodeBody refuses what is no JSON, and what a text column cannot hold: broken UTF-8 and the zero character, which
// decoders let pass.
func decodeBody(body []byte) (value any, err error) {
	if len(body) == 0 {
		return nil, nil
	}
	if !utf8.Valid(body) {
		return nil, NewProblem(CodeMalformedJSON, "The body is not UTF-8.")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	if err == nil && len(bytes.Trim(body[decoder.InputOffset():], " \t\r\n")) > 0 {
		// The decoder passes over what follows the first document.
		err = errAnotherDocument
	}
	if err != nil {
		if whole := json.Unmarshal(body, new(json.RawMessage)); whole != nil {
			err = whole // it says where
		}
		return nil, NewProblem(CodeMalformedJSON, "The body is not JSON: "+syntaxFault(err)+".", WithCause(err))
	}
	if bytes.Contains(body, []byte(`\u0000`)) {
		if faults := zeroCharacters(value, "", nil); len(faults) > 0 {
			return nil, NewProblem(CodeValidationFailed, "The body holds text that cannot be stored.", WithErrors(faults...))
		}
	}
	return value, nil
}

// checkText refuses parameters that a text column cannot hold.
func checkText(r *http.Request) error {
	if r.URL.RawQuery != "" {
		for name, values := range r.URL.Query() {
			if slices.ContainsFunc(values, unstorable) || unstorable(name) {
				return NewProblem(CodeValidationFailed, "A query parameter holds text that cannot be stored.",
					WithErrors(FieldError{
						Parameter: strings.ToValidUTF8(name, "?"), In: "query", Code: "text",
						Detail: "must be UTF-8 without the character U+0000",
					}))
			}
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
