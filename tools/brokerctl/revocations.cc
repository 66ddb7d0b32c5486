// brokerctl revocations list and lift.

#include <iostream>
#include <limits>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

struct ListOptions {
  v1::ListRevocationsRequest request;
  uint64_t limit = std::numeric_limits<uint64_t>::max();
};

std::string TargetName(const v1::Revocation& revocation) {
  switch (revocation.target_case()) {
    case v1::Revocation::kTokenHash:
      return "session:" + revocation.token_hash();
    case v1::Revocation::kAccountId:
      return "account:" + revocation.account_id() +
             (revocation.has_keep_token_hash()
                  ? " but session:" + revocation.keep_token_hash()
                  : "");
    case v1::Revocation::kApiTokenId:
      return "token:" + revocation.api_token_id();
    case v1::Revocation::kFilterExpr:
      return "filter: " + revocation.filter_expr().ShortDebugString();
    case v1::Revocation::kMatchAll:
      return "everything";
    default:
      return "unknown";
  }
}

std::string NamespacesOf(const v1::Revocation& revocation) {
  if (revocation.namespaces().empty()) return "all";
  return CLI::detail::join(revocation.namespaces(), ",");
}

void PrintRevocations(const v1::ListRevocationsResponse& list) {
  std::vector<Row> rows = {{"REVOCATION", "NAMESPACE", "EPOCH", "CREATED",
                            "BLOCKS UNTIL", "EXPIRES", "TARGET"}};
  for (const v1::Revocation& revocation : list.revocations()) {
    rows.push_back(
        {revocation.revocation_id(), NamespacesOf(revocation),
         std::to_string(revocation.epoch()), TimeName(revocation.create_time()),
         TimeName(revocation.block_until()), TimeName(revocation.expire_time()),
         TargetName(revocation)});
  }
  PrintTable(rows);
}

int List(Command& command, const ListOptions& options) {
  v1::ListRevocationsRequest request = options.request;
  v1::ListRevocationsResponse all;
  do {
    const uint64_t missing = options.limit - all.revocations_size();
    request.set_page_size(
        static_cast<int>(std::min<uint64_t>(missing, kPageSize)));
    v1::ListRevocationsResponse page;
    const grpc::Status status =
        command.client().ListRevocations(request, &page);
    if (!status.ok()) return command.Fail(status);
    request.set_page_token(page.next_page_token());
    all.MergeFrom(page);
  } while (!request.page_token().empty() &&
           static_cast<uint64_t>(all.revocations_size()) < options.limit);
  all.set_next_page_token(request.page_token());
  if (command.json()) {
    PrintJson(all);
  } else {
    PrintRevocations(all);
  }
  return kOk;
}

int Lift(Command& command, const v1::LiftRevocationRequest& request) {
  v1::LiftRevocationResponse response;
  const grpc::Status status =
      command.client().LiftRevocation(request, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    std::cout << "lifted  " << Printable(TargetName(response.revocation()))
              << "\n";
  }
  return kOk;
}

}  // namespace

void AddRevocations(CLI::App& app, Command& command) {
  CLI::App* revocations =
      AddGroup(app, "revocations", "Shows what is kept out, and lets it in");
  auto options = std::make_shared<ListOptions>();
  CLI::App* list =
      revocations->add_subcommand("list", "Lists revocations, oldest first");
  AddNamespace(*list, &options->request, "those of all");
  AddNumber(
      *list, "--limit", 1,
      [options = options.get()](uint64_t limit) { options->limit = limit; },
      "At most so many; without it all");
  list->callback([&command, options] {
    command.action = [&command, options] { return List(command, *options); };
  });

  auto request = std::make_shared<v1::LiftRevocationRequest>();
  CLI::App* lift = revocations->add_subcommand(
      "lift", "Takes a revocation back; closed sockets stay closed");
  AddField(
      *lift, "revocation_id",
      [request = request.get()](const auto& id) {
        request->set_revocation_id(id);
      },
      "The revocation")
      ->required();
  lift->callback([&command, request] {
    command.action = [&command, request] { return Lift(command, *request); };
  });
}

}  // namespace brokerctl
