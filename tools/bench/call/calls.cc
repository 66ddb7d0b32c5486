#include "tools/bench/call/calls.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tools/bench/call/publish_source.h"

namespace bench {
namespace {

// Of a filter's set: 64 KiB of tree is the limit, and 4,096 values.
constexpr uint64_t kAccountsPerClose = 4'000;

// A step that is no factor of any number of accounts: as good as drawn at
// random, and the same in every round.
uint64_t Draw(uint64_t index, uint64_t accounts) {
  return index * 2'654'435'761u % accounts;
}

std::string AccountId(uint64_t i) { return "account-" + std::to_string(i); }

// As long as a SHA-256 in hexadecimal.
std::string SessionHash(uint64_t i) {
  char text[65];
  std::snprintf(text, sizeof text, "%064llx",
                static_cast<unsigned long long>(i * 0x9e3779b97f4a7c15u));
  return text;
}

// Its second parameter says which overload of a call is meant.
template <typename Request, typename Response>
std::unique_ptr<Source> MakeSource(
    typename UnarySource<Request, Response>::Stub* stub,
    typename UnarySource<Request, Response>::Method method, size_t flight,
    typename UnarySource<Request, Response>::Fill fill,
    typename UnarySource<Request, Response>::Read read) {
  return std::make_unique<UnarySource<Request, Response>>(
      stub, method, flight, std::move(fill), std::move(read));
}

template <typename Response>
void ReadSend(uint64_t, const Response& response, Outcome* outcome) {
  outcome->matched = response.matched();
  outcome->queued = response.queued();
  outcome->dropped = response.dropped_slow();
}

}  // namespace

v1::Identity MakeIdentity(uint64_t i, uint64_t leavers) {
  const std::string cohort = i < leavers ? "leave" : "stay";
  v1::Identity identity;
  identity.set_account_id(AccountId(i));
  identity.set_token_hash(SessionHash(i));
  (*identity.mutable_labels())["region"] = "eu-" + std::to_string(i % 4);
  (*identity.mutable_labels())["cohort"] = cohort;
  identity.add_groups("team-" + std::to_string(i / 10));
  identity.add_groups("cohort-" + cohort);
  return identity;
}

Calls::Calls(const std::string& target)
    : stub_(v1::SocketBroker::NewStub(
          grpc::CreateChannel(target, grpc::InsecureChannelCredentials()))) {}

std::unique_ptr<Source> Calls::Make(const Command& command, size_t flight) {
  const std::string& name = command.name();
  if (name == "mint") return Mint(command, flight);
  if (name == "broadcast") return Broadcast(command, flight);
  if (name == "send") return SendToAll(command, flight);
  if (name == "account") return SendToAccount(command, flight);
  if (name == "publish") return Publish(command, flight);
  if (name == "close") return Close(command, flight);
  if (name == "revoke") return Revoke(command, flight);
  if (name == "ask") return Ask(command, flight);
  if (name == "info") return Info(flight);
  return nullptr;
}

uint64_t Calls::ReadEpoch() {
  grpc::ClientContext context;
  Prepare(context, std::chrono::seconds(10));
  v1::GetBrokerInfoResponse response;
  const grpc::Status status = stub_->GetBrokerInfo(&context, {}, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "GetBrokerInfo: %s\n", status.error_message().c_str());
    std::exit(1);
  }
  return response.epoch();
}

std::unique_ptr<Source> Calls::Mint(const Command& command, size_t flight) {
  tickets_.assign(command.Number("count"), "");
  const uint64_t first = command.Number("from");
  const uint64_t leavers = command.Number("leavers");
  const std::string ns = command.Text("namespace", "default");
  const uint64_t ttl = command.Number("ttl", 60);
  const uint64_t epoch = ReadEpoch();
  return MakeSource<v1::CreateTicketRequest, v1::CreateTicketResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::CreateTicket, flight,
      [=](size_t, uint64_t index, v1::CreateTicketRequest* request) {
        request->set_namespace_(ns);
        *request->mutable_identity() = MakeIdentity(first + index, leavers);
        request->set_verified_at_epoch(epoch);
        request->mutable_ttl()->set_seconds(ttl);
      },
      [this](uint64_t index, const v1::CreateTicketResponse& response,
             Outcome*) { tickets_[index] = response.ticket(); });
}

void Calls::NextMessage(size_t slot, size_t size, v1::Message* message) {
  const size_t sender = one_sender_.value_or(slot);
  message->set_binary(
      MakePayload(Sequence(sender, ++sent_[sender]), NowNs(), size));
}

std::unique_ptr<Source> Calls::Broadcast(const Command& command,
                                         size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const std::string filter = command.Text("filter");
  const size_t size = command.Number("bytes", 128);
  return MakeSource<v1::BroadcastFilteredRequest,
                    v1::BroadcastFilteredResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::BroadcastFiltered,
      flight,
      [=, this](size_t slot, uint64_t, v1::BroadcastFilteredRequest* request) {
        request->set_namespace_(ns);
        if (filter.empty()) {
          request->set_match_all(true);
        } else {
          request->set_filter(filter);
        }
        NextMessage(slot, size, request->mutable_message());
      },
      ReadSend<v1::BroadcastFilteredResponse>);
}

std::unique_ptr<Source> Calls::SendToAll(const Command& command,
                                         size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const size_t size = command.Number("bytes", 128);
  return MakeSource<v1::SendRequest, v1::SendResponse>(
      stub_->async(), &v1::SocketBroker::StubInterface::async_interface::Send,
      flight,
      [=, this](size_t slot, uint64_t, v1::SendRequest* request) {
        request->set_namespace_(ns);
        NextMessage(slot, size, request->mutable_message());
      },
      ReadSend<v1::SendResponse>);
}

std::unique_ptr<Source> Calls::SendToAccount(const Command& command,
                                             size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const uint64_t accounts = command.Number("accounts", 1);
  const size_t size = command.Number("bytes", 128);
  return MakeSource<v1::SendToAccountRequest, v1::SendToAccountResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::SendToAccount, flight,
      [=, this](size_t slot, uint64_t index,
                v1::SendToAccountRequest* request) {
        request->set_namespace_(ns);
        request->set_account_id(AccountId(Draw(index, accounts)));
        NextMessage(slot, size, request->mutable_message());
      },
      ReadSend<v1::SendToAccountResponse>);
}

std::unique_ptr<Source> Calls::Publish(const Command& command, size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const uint64_t items = command.Number("items", 1);
  const uint64_t accounts = command.Number("accounts");
  const size_t size = command.Number("bytes", 128);
  const bool revoke = command.Number("revoke") != 0;
  if (!command.Text("sender").empty()) one_sender_ = command.Number("sender");
  const uint64_t first = command.Number("from");
  return std::make_unique<PublishSource>(
      stub_->async(), flight,
      [=, this](size_t slot, uint64_t index, v1::PublishRequest* request) {
        for (uint64_t i = index * items; i < (index + 1) * items; ++i) {
          v1::PublishItem* item = request->add_items();
          if (revoke) {
            auto* close = item->mutable_close_sockets_for_account();
            close->set_namespace_(ns);
            close->set_account_id(AccountId(first + i));
          } else if (accounts != 0) {
            auto* send = item->mutable_send_to_account();
            send->set_namespace_(ns);
            send->set_account_id(AccountId(Draw(i, accounts)));
            NextMessage(slot, size, send->mutable_message());
          } else {
            auto* send = item->mutable_broadcast_filtered();
            send->set_namespace_(ns);
            send->set_match_all(true);
            NextMessage(slot, size, send->mutable_message());
          }
        }
      });
}

std::unique_ptr<Source> Calls::Close(const Command& command, size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const std::string filter = command.Text("filter");
  const uint64_t accounts = command.Number("accounts");
  return MakeSource<v1::CloseSocketsFilteredRequest,
                    v1::CloseSocketsFilteredResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::CloseSocketsFiltered,
      flight,
      [=](size_t, uint64_t index, v1::CloseSocketsFilteredRequest* request) {
        request->set_namespace_(ns);
        if (!filter.empty()) return request->set_filter(filter);
        auto* member = request->mutable_filter_expr()->mutable_member();
        member->set_field("account_id");
        const uint64_t first = index * kAccountsPerClose;
        const uint64_t end = std::min(first + kAccountsPerClose, accounts);
        for (uint64_t i = first; i < end; ++i) {
          member->add_values(AccountId(i));
        }
      },
      [](uint64_t, const v1::CloseSocketsFilteredResponse& response,
         Outcome* outcome) { outcome->closed = response.closed(); });
}

std::unique_ptr<Source> Calls::Revoke(const Command& command, size_t flight) {
  const std::string ns = command.Text("namespace", "default");
  const uint64_t first = command.Number("from");
  return MakeSource<v1::CloseSocketsForAccountRequest,
                    v1::CloseSocketsForAccountResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::CloseSocketsForAccount,
      flight,
      [=](size_t, uint64_t index, v1::CloseSocketsForAccountRequest* request) {
        request->set_namespace_(ns);
        request->set_account_id(AccountId(first + index));
      },
      [](uint64_t, const v1::CloseSocketsForAccountResponse& response,
         Outcome* outcome) { outcome->closed = response.closed(); });
}

std::vector<std::string> Calls::ReadIds(const std::string& ns) {
  grpc::ClientContext context;
  Prepare(context, std::chrono::seconds(10));
  v1::ListConnectionsRequest request;
  request.set_namespace_(ns);
  request.set_page_size(1000);
  v1::ListConnectionsResponse response;
  const grpc::Status status =
      stub_->ListConnections(&context, request, &response);
  std::vector<std::string> ids;
  for (const v1::Connection& c : response.connections()) {
    ids.push_back(c.connection_id());
  }
  if (ids.empty()) {
    std::fprintf(stderr, "no connections: %s\n",
                 status.error_message().c_str());
    std::exit(1);
  }
  return ids;
}

std::unique_ptr<Source> Calls::Ask(const Command& command, size_t flight) {
  const std::vector<std::string> ids =
      ReadIds(command.Text("namespace", "default"));
  const size_t size = std::max<uint64_t>(command.Number("bytes", 128), 64);
  const std::string params = "[\"" + std::string(size - 60, 'x') + "\"]";
  return MakeSource<v1::RequestConnectionRequest,
                    v1::RequestConnectionResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::RequestConnection,
      flight,
      [=](size_t, uint64_t index, v1::RequestConnectionRequest* request) {
        request->set_connection_id(ids[index % ids.size()]);
        request->set_method("bench.ask");
        request->set_params_json(params);
        request->set_want_json(true);
      },
      [](uint64_t, const v1::RequestConnectionResponse& response,
         Outcome* outcome) {
        if (response.reply().result_json() != R"(["yes"])") {
          outcome->error = "another reply";
        }
      });
}

std::unique_ptr<Source> Calls::Info(size_t flight) {
  return MakeSource<v1::GetBrokerInfoRequest, v1::GetBrokerInfoResponse>(
      stub_->async(),
      &v1::SocketBroker::StubInterface::async_interface::GetBrokerInfo, flight,
      [](size_t, uint64_t, v1::GetBrokerInfoRequest*) {},
      [](uint64_t, const v1::GetBrokerInfoResponse&, Outcome*) {});
}

}  // namespace bench
