// storm CONTROL WEBSOCKET_PORT ADMIN_PORT ROUNDS CLIENTS
//
// Revokes an account while CLIENTS of it connect, ROUNDS times, each round an
// account of its own. After each answer there must be no live connection, no
// 101 to who comes then, and no message processed. Says so in one line of JSON,
// or what was wrong, with exit code 1. For test_revocation_storm.py.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "socketbroker/client.h"
#include "tests/integration/revocation_storm/clients.h"

namespace storm {
namespace {

namespace v1 = socketbroker::v1;

void Check(const grpc::Status& status, const char* what) {
  if (!status.ok()) {
    throw std::runtime_error(std::string(what) + ": " + status.error_message());
  }
}

void Check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

class Storm {
 public:
  Storm(const std::string& control, uint16_t websocket_port,
        uint16_t admin_port)
      : client_(control, Options()),
        websocket_port_(websocket_port),
        admin_port_(admin_port) {}

  void Round(int number, size_t count, bool withholding) {
    const std::string account = "storm-" + std::to_string(number);
    const uint64_t before = Epoch();
    std::vector<std::string> tickets;
    for (size_t i = 0; i < count; ++i) tickets.push_back(Mint(account, before));

    Clients::Options options;
    options.port = websocket_port_;
    options.late = count / 4;
    options.withholding = withholding ? 10 : 0;
    Clients clients(options, tickets);
    // Somewhere among those that come before.
    const size_t when = random_() % (count - options.late);
    std::exception_ptr failed;
    uint64_t after = 0, messages = 0;
    std::thread revoking([&] {
      try {
        while (clients.started() < when) std::this_thread::yield();
        after = Revoke(account);
        messages = MessagesIn();
        Check(Live(account) == 0, "connections are live after the answer");
      } catch (...) {
        failed = std::current_exception();
      }
      clients.SetRevoked();
    });
    const Clients::Result result = clients.Run();
    revoking.join();
    if (failed) std::rethrow_exception(failed);
    Check(result.wrong.empty(), result.wrong);
    Check(result.refused_late >= options.late, "nobody came late");
    Check(result.opened >= closed_, "more were closed than opened");
    Check(MessagesIn() == messages, "a message was processed afterwards");
    Check(result.resets == result.withheld,
          std::to_string(result.withheld - result.resets) +
              " that withheld their close frame were not reset");
    Check(Live(account) == 0, "connections are live at the end");
    CheckLogins(account, before, after);
    opened_ += result.opened;
    refused_ += result.refused;
    withheld_ += result.withheld;
  }

  void Report() const {
    std::cout << "{\"opened\":" << opened_ << ",\"refused\":" << refused_
              << ",\"withheld\":" << withheld_ << "}" << std::endl;
  }

 private:
  static socketbroker::ClientOptions Options() {
    socketbroker::ClientOptions options;
    options.deadline = std::chrono::seconds(60);
    return options;
  }

  uint64_t Epoch() {
    v1::GetBrokerInfoResponse info;
    Check(client_.GetBrokerInfo({}, &info), "GetBrokerInfo");
    return info.epoch();
  }

  grpc::Status TryMint(const std::string& account, uint64_t epoch,
                       std::string* ticket) {
    v1::CreateTicketRequest request;
    request.mutable_identity()->set_account_id(account);
    request.set_verified_at_epoch(epoch);
    request.mutable_ttl()->set_seconds(60);
    v1::CreateTicketResponse response;
    grpc::Status status = client_.CreateTicket(request, &response);
    *ticket = response.ticket();
    return status;
  }
  std::string Mint(const std::string& account, uint64_t epoch) {
    std::string ticket;
    Check(TryMint(account, epoch, &ticket), "CreateTicket");
    return ticket;
  }

  uint64_t Revoke(const std::string& account) {
    v1::CloseSocketsForAccountRequest request;
    request.set_account_id(account);
    v1::CloseSocketsForAccountResponse response;
    Check(client_.CloseSocketsForAccount(request, &response),
          "CloseSocketsForAccount");
    closed_ = response.closed();
    return response.epoch();
  }

  // Pending ones, too.
  uint64_t Live(const std::string& account) {
    v1::ListConnectionsRequest request;
    request.set_filter("account_id = \"" + account + "\"");
    request.add_states(v1::CONNECTION_STATE_PENDING);
    request.add_states(v1::CONNECTION_STATE_ADMITTED);
    v1::ListConnectionsResponse response;
    Check(client_.ListConnections(request, &response), "ListConnections");
    return static_cast<uint64_t>(response.connections_size());
  }

  // What was verified before is refused, what was verified since is welcome.
  void CheckLogins(const std::string& account, uint64_t before,
                   uint64_t after) {
    std::string ticket;
    Check(TryMint(account, before, &ticket).error_code() ==
              grpc::StatusCode::FAILED_PRECONDITION,
          "a ticket verified before was minted");
    Check(TryMint(account, after, &ticket), "CreateTicket after it");
  }

  // The broker's count of messages from clients.
  uint64_t MessagesIn() const {
    const std::string name = "socketbroker_messages_total{direction=\"in\"} ";
    const std::string page = Get("/metrics");
    const size_t at = page.find(name);
    Check(at != std::string::npos, "no count of messages in /metrics");
    return std::strtoull(page.c_str() + at + name.size(), nullptr, 10);
  }

  std::string Get(const std::string& path) const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(admin_port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Check(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0,
        "cannot connect to the admin listener");
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    std::string page;
    char buffer[16384];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      page.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
    return page;
  }

  socketbroker::Client client_;
  const uint16_t websocket_port_;
  const uint16_t admin_port_;
  std::mt19937 random_{4711};
  uint64_t closed_ = 0;  // of the last revocation
  uint64_t opened_ = 0;
  uint64_t refused_ = 0;
  uint64_t withheld_ = 0;
};

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() != 5) {
    std::cerr << "storm CONTROL WEBSOCKET_PORT ADMIN_PORT ROUNDS CLIENTS\n";
    return 2;
  }
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  const auto port = [&](int i) {
    return static_cast<uint16_t>(std::stoi(arguments[i]));
  };
  Storm storm(arguments[0], port(1), port(2));
  const int rounds = std::stoi(arguments[3]);
  const size_t clients = std::stoul(arguments[4]);
  int round = 0;
  try {
    // Who withholds a close frame holds up its round for two seconds.
    for (; round < rounds; ++round) {
      storm.Round(round, clients, /*withholding=*/round % 100 == 0);
    }
  } catch (const std::exception& error) {
    std::cerr << "round " << round << ": " << error.what() << "\n";
    return 1;
  }
  storm.Report();
  return 0;
}

}  // namespace
}  // namespace storm

int main(int argc, char** argv) {
  return storm::Main(std::vector<std::string>(argv + 1, argv + argc));
}
