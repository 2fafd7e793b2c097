package httpserver

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// members are the names under which a struct is written, with their types, and those that are always there.
func members(t reflect.Type) (all map[string]string, always []string) {
	types := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Slice: "array"}
	all = make(map[string]string)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all[name] = types[f.Type.Kind()]
		if options != "omitempty" {
			always = append(always, name)
		}
	}
	return all, always
}

// Every API describes the problems that this server sends, and all do so in the same words.
func TestProblem_is_described(t *testing.T) {
	t.Parallel()
	// What one API's handlers add.
	extra := map[string][]string{"coordinator.yaml": {"order", "way_back"}}
	files, err := filepath.Glob("../../schemas/openapi/*.yaml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, ".cfg.yaml") })
	require.Len(t, files, 6)
	first := make(map[string]string)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			spec, err := openapi3.NewLoader().LoadFromFile(file)
			require.NoError(t, err)
			for name, written := range map[string]reflect.Type{
				"Problem": reflect.TypeFor[document](), "ProblemError": reflect.TypeFor[FieldError](),
			} {
				schema := spec.Components.Schemas[name].Value
				if name == "Problem" {
					for _, member := range extra[filepath.Base(file)] {
						require.Contains(t, schema.Properties, member)
						delete(schema.Properties, member)
					}
				}
				all, always := members(written)
				described := make(map[string]string)
				for member, ref := range schema.Properties {
					described[member] = ref.Value.Type.Slice()[0]
				}
				require.Equal(t, all, described, name)
				require.ElementsMatch(t, always, schema.Required, name)
				text, err := json.Marshal(schema)
				require.NoError(t, err)
				if first[name] == "" {
					first[name] = string(text)
				}
				require.JSONEq(t, first[name], string(text), "%s as in the first document", name)
			}
			problem := spec.Components.Responses["Problem"].Value
			require.Equal(t, "#/components/schemas/Problem", problem.Content[ContentTypeProblem].Schema.Ref)
			require.Contains(t, problem.Headers, "Retry-After")
			for path, item := range spec.Paths.Map() {
				for method, operation := range item.Operations() {
					require.Equal(t, "#/components/responses/Problem", operation.Responses.Default().Ref, "%s %s", method, path)
					for status, response := range operation.Responses.Map() {
						require.False(t, response.Value != problem && slices.Contains(slices.Collect(maps.Keys(response.Value.Content)),
							ContentTypeProblem), "%s %s %s", method, path, status)
					}
				}
			}
		})
	}
}
