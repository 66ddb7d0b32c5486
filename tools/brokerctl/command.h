// What the commands of brokerctl share: where the broker is, how a call is made
// and how its failure is told. One thread.

#pragma once

#include <grpcpp/support/status.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

#include "socketbroker/client.h"

namespace brokerctl {

// The exit codes: the footer of --help and broker/docs/brokerctl.md say the
// same.
enum ExitCode {
  kOk = 0,
  kRefused = 1,
  kUsage = 2,
  kUnreachable = 3,
  kDeclined = 4,
};

class Command {
 public:
  std::string address = "127.0.0.1:50051";
  bool tls = false;
  socketbroker::TlsFiles tls_files;  // any of them means TLS
  std::string api_key_file;          // else SOCKET_BROKER_API_KEY
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::string output = "table";

  // What the parsed command does; returns the exit code.
  std::function<int()> action;

  bool json() const { return output == "json"; }

  // Made at first use: parsing must not need a broker. Throws
  // CLI::ValidationError for a file that cannot be read.
  socketbroker::Client& client();

  // Says on stderr why a call failed and returns the exit code for it.
  int Fail(const grpc::Status& status) const;

 private:
  std::optional<socketbroker::Client> client_;
};

// A call of the client.
template <typename Request, typename Response>
using Method = grpc::Status (socketbroker::Client::*)(
    const Request&, Response*, const socketbroker::CallOptions&);

// How many a listing asks for at a time: the most that a page may have.
inline constexpr int kPageSize = 1000;

// One for each file: adds the commands of a family.
void AddInfo(CLI::App& app, Command& command);
void AddConnections(CLI::App& app, Command& command);
void AddTicket(CLI::App& app, Command& command);
void AddClose(CLI::App& app, Command& command);
void AddRevocations(CLI::App& app, Command& command);
void AddSend(CLI::App& app, Command& command);
void AddAsk(CLI::App& app, Command& command);
void AddCompletion(CLI::App& app, Command& command);
void AddKeygen(CLI::App& app, Command& command);

// Parts of `connections` that have files of their own.
void AddWatch(CLI::App& connections, Command& command);
void AddBind(CLI::App& connections, Command& command);

// Adds a command that only groups others.
CLI::App* AddGroup(CLI::App& app, const std::string& name,
                   const std::string& description);

}  // namespace brokerctl
