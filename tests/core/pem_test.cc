// PEM texts that are good, damaged, or of another pair.

#include "broker/core/pem.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

struct Pair {
  std::string certificate;
  std::string key;
};

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

Pair NewPair() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_sign(certificate, key, EVP_sha256());
  BIO* certificate_bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(certificate_bio, certificate);
  BIO* key_bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(key_bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return {TextOf(certificate_bio), TextOf(key_bio)};
}

TEST(PemTest, APairFitsAndTwoHalvesDoNot) {
  const Pair one = NewPair();
  const Pair two = NewPair();
  EXPECT_TRUE(CheckPrivateKey(one.key, one.certificate).ok());
  EXPECT_TRUE(absl::StrContains(
      CheckPrivateKey(two.key, one.certificate).message(), "not the key"));
  EXPECT_TRUE(absl::StrContains(
      CheckPrivateKey(one.certificate, one.certificate).message(),
      "no private key"));
}

TEST(PemTest, EveryCertificateOfABundleMustBeOne) {
  const std::string one = NewPair().certificate;
  const std::string two = NewPair().certificate;
  EXPECT_TRUE(CheckCertificates(one).ok());
  EXPECT_TRUE(CheckCertificates(absl::StrCat(one, two)).ok());
  EXPECT_FALSE(CheckCertificates("").ok());
  EXPECT_FALSE(CheckCertificates(NewPair().key).ok());
  EXPECT_FALSE(
      CheckCertificates(absl::StrCat(one,
                                     "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                     "-----END CERTIFICATE-----\n"))
          .ok());
}

TEST(PemTest, ReadsFilesAndSaysWhyNot) {
  EXPECT_TRUE(absl::StrContains(
      ReadPemFile("/nonexistent/file").status().message(), "No such file"));
  EXPECT_TRUE(
      absl::StrContains(ReadPemFile("/dev/null").status().message(), "empty"));
  EXPECT_TRUE(absl::StrContains(ReadPemFile("/dev/zero").status().message(),
                                "more than"));
}

}  // namespace
}  // namespace broker
