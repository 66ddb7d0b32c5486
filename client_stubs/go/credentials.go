package socketbroker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
)

// TLSFiles are PEM files; each may be empty.
type TLSFiles struct {
	// The authorities that the broker's certificate must come from. Empty: those
	// that the system trusts.
	CA string
	// What the caller proves itself with, where the broker asks for it (mTLS).
	// Both or none.
	Certificate, PrivateKey string
}

// TLSFromFiles returns the Credentials of a Client that connects with TLS, 1.2
// or newer. The files are read now, and not again.
func TLSFromFiles(files TLSFiles) (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA: no certificate in %s", files.CA)
		}
	}
	if (files.Certificate == "") != (files.PrivateKey == "") {
		return nil, errors.New("Certificate and PrivateKey go together: set both or none")
	}
	if files.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(files.Certificate, files.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("Certificate and PrivateKey: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// An API key as credentials of each call.
type apiKey struct {
	key    string
	secure bool
}

func (a apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + a.key}, nil
}

// Without TLS it goes in plain text, which ClientOptions.APIKey says.
func (a apiKey) RequireTransportSecurity() bool { return a.secure }
