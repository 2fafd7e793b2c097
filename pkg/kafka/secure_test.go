package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

// mustCertificate makes a certificate for loopback that is its own authority, and writes it to a file.
func mustCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestConfig_TLS_and_SCRAM(t *testing.T) {
	t.Parallel()
	certificate, file := mustCertificate(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}),
		kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "payment", "right"), kfake.Superuser("SCRAM-SHA-256", "old", "right"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	sound := kafka.Config{
		Brokers: cluster.ListenAddrs(), Partitions: 1, TLS: true, TLSCA: file, SASLUsername: "payment", SASLPassword: "right",
	}
	for _, test := range []struct {
		name   string
		change func(*kafka.Config)
		want   string
	}{
		{"right", func(*kafka.Config) {}, ""},
		{"other mechanism", func(c *kafka.Config) { c.SASLMechanism, c.SASLUsername = "SCRAM-SHA-256", "old" }, ""},
		// Apache Kafka says SASL_AUTHENTICATION_FAILED, the embedded broker hangs up.
		{"wrong password", func(c *kafka.Config) { c.SASLPassword = "wrong" }, "creating topics on 127.0.0.1"},
		{"unknown authority", func(c *kafka.Config) { c.TLSCA = "" }, "certificate"},
		{"no file", func(c *kafka.Config) { c.TLSCA += ".gone" }, "KAFKA_TLS_CA"},
		{"no certificate in the file", func(c *kafka.Config) { c.TLSCA = "secure_test.go" }, "no certificate in it"},
		{"no key in the file", func(c *kafka.Config) { c.TLSCert, c.TLSKey = file, file }, "KAFKA_TLS_CERT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := sound
			test.change(&config)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := kafka.EnsureTopics(ctx, config, kafkatest.Log(t), "topic")
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "wrong")
		})
	}
}
