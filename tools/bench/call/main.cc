// bench_call TARGET: makes the gRPC calls of a benchmark.
//
// Commands (see common/commands.h), each with count= [flight=1], and [rate=] or
// [bursts=1], [limit=SECONDS]; see PumpOptions:
//
//   mint [from=] [leavers=] [namespace=] [ttl=SECONDS] file=
//       tickets, one a line
//   broadcast [namespace=] bytes= [filter=]
//       BroadcastFiltered; without a filter to all
//   send [namespace=] bytes=
//       Send
//   account [namespace=] bytes= accounts=
//       SendToAccount, at random ones
//   publish [namespace=] bytes= items= [sender=] [accounts= | revoke=1 [from=]]
//       requests of one Publish stream: SendToAccount at random ones,
//       CloseSocketsForAccount, each another's, or BroadcastFiltered to all;
//       all of one sender, for several programs beside each other, or each slot
//       one of its own
//   close [namespace=] accounts= | filter=
//       CloseSocketsFiltered: the first accounts, 4,000 a call, or a filter
//   revoke [namespace=] [from=]
//       CloseSocketsForAccount, each another account's
//   ask [namespace=] bytes=
//       RequestConnection, at the connections in turn
//   info
//       GetBrokerInfo

#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "tools/bench/call/calls.h"
#include "tools/bench/call/context.h"
#include "tools/bench/call/pump.h"
#include "tools/bench/common/commands.h"

namespace bench {
namespace {

PumpOptions ReadOptions(const Command& command) {
  PumpOptions options;
  options.count = command.Number("count", 1);
  options.flight = command.Number("flight", 1);
  options.rate = command.Real("rate");
  options.bursts = command.Number("bursts") != 0;
  options.limit_seconds = command.Real("limit", 30);
  return options;
}

void AddResult(const PumpResult& result, Answer& answer) {
  answer.Add("done", result.done)
      .Add("failed", result.failed)
      .Add("error", result.first_error)
      .Add("matched", result.sum.matched)
      .Add("queued", result.sum.queued)
      .Add("dropped", result.sum.dropped)
      .Add("closed", result.sum.closed)
      .Add("start_ns", result.start_ns)
      .Add("end_ns", result.end_ns)
      .Add("p50_ns", result.latency_ns.Quantile(0.50))
      .Add("p99_ns", result.latency_ns.Quantile(0.99))
      .Add("max_ns", result.latency_ns.max());
}

void Run(const Command& command, Calls& calls) {
  Answer answer;
  const PumpOptions options = ReadOptions(command);
  const std::unique_ptr<Source> source = calls.Make(command, options.flight);
  // Only messages have a sender.
  const bool too_many =
      options.flight > kMaxSenders && command.name() != "revoke";
  if (source == nullptr || too_many) {
    answer.Add("error", "no such call, or too many in flight").Send();
    return;
  }
  AddResult(Pump(*source, options).Run(), answer);
  if (command.name() == "mint") {
    std::ofstream file(command.Text("file"));
    for (const std::string& ticket : calls.TakeTickets())
      file << ticket << "\n";
  }
  answer.Send();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("bench_call TARGET [API-KEY]\n", stderr);
    return 2;
  }
  if (argc == 3) bench::SetApiKey(argv[2]);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench::Calls calls(argv[1]);
  for (std::string line; std::getline(std::cin, line);) {
    bench::Run(bench::Command(line), calls);
  }
  return 0;
}
