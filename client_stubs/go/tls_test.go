package socketbroker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

// A certificate that is its own authority, for the server "broker" and for
// clients, as PEM files.
func makeCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"broker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = t.TempDir()+"/certificate.pem", t.TempDir()+"/key.pem"
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

func TestTLSAndProofOfTheCaller(t *testing.T) {
	certificate, key := makeCertificate(t)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	text, err := os.ReadFile(certificate)
	if err != nil || !authorities.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	broker := startFakeBroker(t, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
	})))
	broker.on("GetBrokerInfo", info(1))
	call := func(files TLSFiles) error {
		transport, err := TLSFromFiles(files)
		if err != nil {
			t.Fatal(err)
		}
		return getInfo(context.Background(), broker.client(t, ClientOptions{
			Credentials: transport, APIKey: "secret", FailFast: true,
			DialOptions: []grpc.DialOption{grpc.WithAuthority("broker")},
		}))
	}
	if err := call(TLSFiles{CA: certificate, Certificate: certificate, PrivateKey: key}); err != nil {
		t.Error(err)
	}
	if got := broker.of("GetBrokerInfo")[0].metadata.Get("authorization"); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	wantError(t, call(TLSFiles{CA: certificate}), codes.Unavailable)
	other, otherKey := makeCertificate(t)
	wantError(t, call(TLSFiles{CA: other, Certificate: certificate, PrivateKey: key}), codes.Unavailable)
	wantError(t, call(TLSFiles{CA: certificate, Certificate: other, PrivateKey: otherKey}), codes.Unavailable)
}
