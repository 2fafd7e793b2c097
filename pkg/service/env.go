package service

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Settings are those that every process has. A service's Config embeds them.
type Settings struct {
	LogLevel  string `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json"`
	// HTTPAddr is where the process serves its API, health and metrics. Loopback unless said otherwise.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:"127.0.0.1:0"`
	// DrainTimeout bounds the whole shutdown; keep it below the platform's own kill timer.
	DrainTimeout time.Duration `env:"DRAIN_TIMEOUT" envDefault:"20s"`
}

// validator is a configuration that knows more about itself than its tags say.
type validator interface{ Validate() error }

// LoadEnv reads a configuration from NAME=value pairs, which is os.Environ() in a process.
//
// For a setting NAME that is not given, NAME_FILE may name a file that holds it, as container platforms hand out
// secrets. The error names every setting that is missing or wrong, not only the first. A configuration with a method
// Validate() error has the last word.
func LoadEnv[T any](environ []string) (T, error) {
	var config T
	values := env.ToMap(environ)
	// Windows and some launchers have entries without a name, which the library would take for fields without a tag.
	delete(values, "")
	params, err := env.GetFieldParams(&config)
	if err != nil {
		return config, fmt.Errorf("reading the configuration's fields: %w", err)
	}
	var errs []error
	for _, p := range params {
		path := values[p.Key+"_FILE"]
		if _, given := values[p.Key]; given || p.Key == "" || path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s_FILE: %w", p.Key, err))
			continue
		}
		values[p.Key] = strings.TrimRight(string(text), "\r\n")
	}
	// The empty string means "not given": compose files and shells produce it easily.
	for name, value := range values {
		if value == "" {
			delete(values, name)
		}
	}
	parseErr := env.ParseWithOptions(&config, env.Options{Environment: values})
	errs = append(errs, parseErrors(reflect.TypeFor[T](), values, parseErr)...)
	if parseErr == nil {
		errs = append(errs, notPositive(reflect.ValueOf(config), "", values)...)
	}
	if len(errs) == 0 {
		if v, ok := any(&config).(validator); ok {
			if err := v.Validate(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return config, fmt.Errorf("configuration: %w", errors.Join(errs...))
	}
	return config, nil
}

// notPositive refuses numbers and durations of 0 and less where the default is more: nothing is turned off by them, and
// Validate could not tell them from what code left out. A setting whose 0 means something says what in its tag zero.
func notPositive(config reflect.Value, prefix string, values map[string]string) []error {
	var errs []error
	for i := range config.NumField() {
		f, value := config.Type().Field(i), config.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name == "" {
			if f.Type.Kind() == reflect.Struct {
				errs = append(errs, notPositive(value, prefix+f.Tag.Get("envPrefix"), values)...)
			}
			continue
		}
		given, ok := values[prefix+name]
		if ok && f.Tag.Get("envDefault") != "" && f.Tag.Get("zero") == "" &&
			(value.CanInt() && value.Int() <= 0 || value.CanUint() && value.Uint() == 0) {
			errs = append(errs, fmt.Errorf("%s=%s: want more than 0", prefix+name, given))
		}
	}
	return errs
}

// parseErrors says each fault with the name of the environment variable; the library knows only the Go field for most.
func parseErrors(config reflect.Type, values map[string]string, err error) []error {
	if err == nil {
		return nil
	}
	aggregate, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return []error{err}
	}
	settings := make(map[string]string)
	settingNames(config, "", settings)
	var errs []error
	for _, err := range aggregate.Errors {
		if missing, ok := errors.AsType[env.VarIsNotSetError](err); ok {
			err = fmt.Errorf("%s is required and not set", missing.Key)
		} else if wrong, ok := errors.AsType[env.ParseError](err); ok {
			if name, ok := settings[wrong.Name]; ok {
				err = fmt.Errorf("%s=%q is no %s: %w", name, values[name], wrong.Type, wrong.Err)
			}
		}
		errs = append(errs, err)
	}
	return errs
}

// settingNames maps the names of Go fields to those of environment variables.
func settingNames(t reflect.Type, prefix string, into map[string]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" {
			into[f.Name] = prefix + name
		} else if f.Type.Kind() == reflect.Struct {
			settingNames(f.Type, prefix+f.Tag.Get("envPrefix"), into)
		}
	}
}
