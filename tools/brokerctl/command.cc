#include "tools/brokerctl/command.h"

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "absl/status/status.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

// The codes of Abseil are those of gRPC.
std::string CodeName(grpc::StatusCode code) {
  const std::string name =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
  return name.empty() ? "UNKNOWN" : name;
}

// Never an option's value: every user of the machine sees those.
std::string ReadApiKey(const std::string& file) {
  std::string key;
  if (file.empty()) {
    const char* const variable = std::getenv("SOCKET_BROKER_API_KEY");
    if (variable != nullptr) key = variable;
  } else {
    std::ifstream in(file);
    if (!std::getline(in, key) || key.empty()) {
      throw CLI::ValidationError("--api-key-file",
                                 file + " cannot be read, or is empty");
    }
  }
  while (!key.empty() && (key.back() == '\r' || key.back() == ' ')) {
    key.pop_back();
  }
  // gRPC ends the program for metadata that it cannot send.
  for (const char c : key) {
    if (c <= ' ' || c > '~') {
      throw CLI::ValidationError("API key", "has a byte that no key has");
    }
  }
  return key;
}

}  // namespace

socketbroker::Client& Command::client() {
  if (!client_) {
    socketbroker::ClientOptions options;
    options.deadline = timeout;
    // An operator would rather hear at once that nobody listens.
    options.wait_for_ready = false;
    options.api_key = ReadApiKey(api_key_file);
    const bool files = !tls_files.ca.empty() ||
                       !tls_files.certificate.empty() ||
                       !tls_files.private_key.empty();
    if (tls || files) {
      std::string error;
      options.credentials = socketbroker::TlsFromFiles(tls_files, &error);
      if (options.credentials == nullptr) {
        throw CLI::ValidationError("--ca, --cert, --key", error);
      }
    }
    client_.emplace(address, options);
  }
  return *client_;
}

int Command::Fail(const grpc::Status& status) const {
  const socketbroker::ErrorDetails details =
      socketbroker::GetErrorDetails(status);
  const std::string message = Printable(status.error_message());
  // With a reason it comes from the broker, which therefore was reached.
  if (details.reason.empty()) {
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      std::cerr << "brokerctl: cannot reach the broker at " << address << ": "
                << message << "\n";
      return kUnreachable;
    }
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      std::cerr << "brokerctl: the broker at " << address
                << " did not answer within " << timeout.count()
                << " ms; --timeout gives it longer\n";
      return kUnreachable;
    }
  }
  std::cerr << "brokerctl: the broker refused: "
            << CodeName(status.error_code()) << ": " << message;
  if (!details.reason.empty()) {
    std::cerr << " (" << Printable(details.reason) << ")";
  }
  std::cerr << "\n";
  for (const auto& violation : details.violations) {
    const std::string line =
        Printable(violation.field + ": " + violation.description);
    // The first is often the message itself.
    if (line != message) std::cerr << "  " << line << "\n";
  }
  return kRefused;
}

CLI::App* AddGroup(CLI::App& app, const std::string& name,
                   const std::string& description) {
  CLI::App* group = app.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

}  // namespace brokerctl
