// What a PEM text holds, checked before anything is made of it. Thread-safe:
// pure functions.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace broker {

// The file's bytes. The error says what is wrong, without the file's name.
absl::StatusOr<std::string> ReadPemFile(const std::string& file);

// Whether it has certificates, and nothing that is none.
absl::Status CheckCertificates(absl::string_view pem);
// Whether it has the key, without a password, of the first certificate there;
// both are read already.
absl::Status CheckPrivateKey(absl::string_view pem,
                             absl::string_view certificate_pem);

}  // namespace broker
