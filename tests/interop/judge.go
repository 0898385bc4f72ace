// Asks a responder by golang.org/x/crypto/ocsp about a certificate a line: its file, its issuer's, the file of the CA that
// is trusted, a hash, the URL, separated by tabs; with "crl" for a hash the URL is a CRL's. Prints a line for each.
package main

import (
	"bufio"
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

var digests = map[string]crypto.Hash{
	"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

var reasons = map[int]string{
	1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation",
	6: "certificateHold", 9: "privilegeWithdrawn", 10: "aACompromise",
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		said, err := judge(parts[0], parts[1], parts[2], parts[3], parts[4])
		if err != nil {
			said = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(said)
	}
}

func judge(leafFile, issuerFile, trustedFile, digest, url string) (string, error) {
	leaf, err := read(leafFile)
	if err != nil {
		return "", err
	}
	issuer, err := read(issuerFile)
	if err != nil {
		return "", err
	}
	trusted, err := read(trustedFile)
	if err != nil {
		return "", err
	}
	if digest == "crl" {
		return byCRL(leaf, trusted, url)
	}
	request, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: digests[digest]})
	if err != nil {
		return "", err
	}
	answer, err := http.Post(url, "application/ocsp-request", bytes.NewReader(request))
	if err != nil {
		return "", err
	}
	octets, err := take(answer)
	if err != nil {
		return "", err
	}
	response, err := ocsp.ParseResponseForCert(octets, leaf, trusted)
	var refused ocsp.ResponseError
	if errors.As(err, &refused) && refused.Status == ocsp.Unauthorized {
		return "unauthorized", nil
	}
	if err != nil {
		return "", err
	}
	if now := time.Now(); now.Before(response.ThisUpdate) || !now.Before(response.NextUpdate) {
		return "not within its time", nil
	}
	switch response.Status {
	case ocsp.Good:
		return "good", nil
	case ocsp.Revoked:
		return revoked(response.RevocationReason), nil
	}
	return "unknown", nil
}

func byCRL(leaf, trusted *x509.Certificate, url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	octets, err := take(answer)
	if err != nil {
		return "", err
	}
	list, err := x509.ParseRevocationList(octets)
	if err != nil {
		return "", err
	}
	if err := list.CheckSignatureFrom(trusted); err != nil {
		return "", err
	}
	for _, entry := range list.RevokedCertificates {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			continue
		}
		for _, extension := range entry.Extensions {
			if extension.Id.String() == "2.5.29.21" { // ENUMERATED, of one octet
				return revoked(int(extension.Value[2])), nil
			}
		}
		return "revoked", nil
	}
	return "good", nil
}

func revoked(reason int) string {
	if name := reasons[reason]; name != "" {
		return "revoked, " + name
	}
	return "revoked"
}

func take(answer *http.Response) ([]byte, error) {
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

func read(file string) (*x509.Certificate, error) {
	octets, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(octets)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", file)
	}
	return x509.ParseCertificate(block.Bytes)
}
