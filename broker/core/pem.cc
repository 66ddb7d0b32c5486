#include "broker/core/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace broker {
namespace {

constexpr size_t kMaxBytes = 1 << 20;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(std::FILE* file) const { std::fclose(file); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

Owned<BIO> Open(absl::string_view pem) {
  ERR_clear_error();
  return Owned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A daemon has nobody to ask for a password.
int NoPassword(char*, int, int, void*) { return 0; }

Owned<X509> ReadCertificate(BIO* bio) {
  return Owned<X509>(PEM_read_bio_X509(bio, nullptr, NoPassword, nullptr));
}

}  // namespace

absl::StatusOr<std::string> ReadPemFile(const std::string& file) {
  const auto failed = [] {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be read: ", std::strerror(errno)));
  };
  const Owned<std::FILE> open(std::fopen(file.c_str(), "re"));
  if (open == nullptr) return failed();
  std::string text(kMaxBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), open.get()));
  if (std::ferror(open.get()) != 0) return failed();
  if (text.empty()) return absl::InvalidArgumentError("is empty");
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has more than ", kMaxBytes, " bytes"));
  }
  return text;
}

absl::Status CheckCertificates(absl::string_view pem) {
  const Owned<BIO> bio = Open(pem);
  int count = 0;
  while (ReadCertificate(bio.get()) != nullptr) ++count;
  // The end is told from a damaged certificate by the reason alone.
  const bool at_end =
      ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (count > 0 && at_end) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "has no certificate in PEM form that OpenSSL takes");
}

absl::Status CheckPrivateKey(absl::string_view pem,
                             absl::string_view certificate_pem) {
  const Owned<BIO> bio = Open(pem);
  const Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "has no private key in PEM form without a password");
  }
  const Owned<BIO> chain = Open(certificate_pem);
  const Owned<X509> certificate = ReadCertificate(chain.get());
  const bool fits = certificate != nullptr &&
                    X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return fits ? absl::OkStatus()
              : absl::InvalidArgumentError("is not the key of the certificate");
}

}  // namespace broker
