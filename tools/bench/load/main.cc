// bench_load: the clients of a benchmark. `--busy`: never sleeps while it has a
// command to carry out; for a core of its own.
//
// Commands (see common/commands.h), each with limit=SECONDS (30):
//   connect port= path= count= [tickets=FILE] [flight=] [receive_buffer=]
//   [tls=1] reset [expect=all|some]     forgets what came so far await
//   [messages=] [closes=] [pongs=] [pings=]  since reset, whichever are given
//   idle seconds=               answers pings, checks what comes send count=
//   bytes= [rate=]  JSON-RPC notifications, then a ping from each
//                               client, and waits for all pongs
//   talk count= flight= bytes=  JSON-RPC requests, one open for each of the
//                               first clients, until all are replied to
//   stall count= / resume count=   the last ones stop and start reading
//   flood seconds=              the last one sends pings and does not read
//   knock port= path= rate= seconds= [what=upgrade|slow|garbage|ticket]
//   drop                        resets all connections

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/common/commands.h"
#include "tools/bench/common/frames.h"
#include "tools/bench/common/net.h"
#include "tools/bench/load/clients.h"
#include "tools/bench/load/knocker.h"

namespace bench {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

uint64_t Deadline(const Command& command) {
  return NowNs() + command.Number("limit", 30) * kSecond;
}

uint64_t SecondsFromNow(const Command& command) {
  return NowNs() + static_cast<uint64_t>(command.Real("seconds", 1) * 1e9);
}

void AddTally(const Clients& clients, Answer& answer) {
  const Tally& tally = clients.tally();
  answer.Add("open", static_cast<uint64_t>(clients.open()))
      .Add("messages", tally.messages)
      .Add("bytes", tally.bytes)
      .Add("pings", tally.pings)
      .Add("pongs", tally.pongs)
      .Add("closes", tally.closes)
      .Add("codes", tally.codes)
      .Add("last_message_ns", tally.last_message_ns)
      .Add("last_close_ns", tally.last_close_ns)
      .Add("p50_ns", tally.latency_ns.Quantile(0.50))
      .Add("p99_ns", tally.latency_ns.Quantile(0.99))
      .Add("max_ns", tally.latency_ns.max())
      .Add("faults", tally.faults)
      .Add("first_fault", tally.first_fault);
}

std::vector<std::string> ReadTickets(const std::string& file, size_t count) {
  std::vector<std::string> tickets(count);
  if (file.empty()) return tickets;
  std::ifstream in(file);
  for (std::string& ticket : tickets) {
    if (!std::getline(in, ticket)) Die("tickets: too few in the file");
  }
  return tickets;
}

void Connect(const Command& command, Clients& clients, Answer& answer) {
  Clients::Target target;
  target.port = static_cast<uint16_t>(command.Number("port"));
  target.path = command.Text("path", "/");
  target.receive_buffer = static_cast<int>(command.Number("receive_buffer"));
  target.tls = command.Number("tls") != 0;
  const bool all = clients.Connect(
      target, ReadTickets(command.Text("tickets"), command.Number("count")),
      command.Number("flight", 100), Deadline(command));
  answer.Add("all", uint64_t{all})
      .Add("open", static_cast<uint64_t>(clients.open()))
      .Add("refused", static_cast<uint64_t>(clients.refused()))
      .Add("refusals", clients.refusals());
}

void Await(const Command& command, Clients& clients, Answer& answer) {
  const uint64_t messages = command.Number("messages");
  const uint64_t closes = command.Number("closes");
  const uint64_t pongs = command.Number("pongs");
  const uint64_t pings = command.Number("pings");
  const Tally& tally = clients.tally();
  clients.HoldCloseAnswers(closes > 0);
  const bool all = clients.PollUntil(Deadline(command), [&] {
    return tally.messages >= messages && tally.closes >= closes &&
           tally.pongs >= pongs && tally.pings >= pings;
  });
  clients.HoldCloseAnswers(false);
  answer.Add("all", uint64_t{all});
  AddTally(clients, answer);
}

void Idle(const Command& command, Clients& clients, Answer& answer) {
  clients.PollUntil(SecondsFromNow(command), [] { return false; });
  AddTally(clients, answer);
}

void Talk(const Command& command, Clients& clients, Answer& answer) {
  const bool all =
      clients.Talk(command.Number("count", 1), command.Number("flight", 1),
                   command.Number("bytes", 128), Deadline(command));
  answer.Add("all", uint64_t{all});
  AddTally(clients, answer);
}

std::string MakeNotification(size_t size) {
  std::string text =
      R"({"jsonrpc":"2.0","method":"position","params":{"note":")";
  constexpr std::string_view kEnd = R"("}})";
  const size_t least = text.size() + kEnd.size();
  text.append(size > least ? size - least : 0, 'n');
  return text.append(kEnd);
}

void Send(const Command& command, Clients& clients, Answer& answer) {
  std::string message;
  AppendClientFrame(kText, MakeNotification(command.Number("bytes", 128)),
                    &message);
  std::string ping;
  AppendClientFrame(kPing, "end", &ping);
  const uint64_t deadline = Deadline(command);
  const uint64_t begin = NowNs();
  bool all = clients.Send(message, command.Number("count"),
                          command.Real("rate"), deadline);
  answer.Add("send_ns", NowNs() - begin);
  // In order behind the messages: when the pongs are here, all were read.
  const uint64_t pongs = clients.tally().pongs + clients.open();
  clients.SendFromAll(ping);
  all = all && clients.PollUntil(
                   deadline, [&] { return clients.tally().pongs >= pongs; });
  answer.Add("all", uint64_t{all});
  AddTally(clients, answer);
}

void Flood(const Command& command, Clients& clients, Answer& answer) {
  std::string ping;
  AppendClientFrame(kPing, "flood", &ping);
  answer.Add("sent", clients.Flood(ping, SecondsFromNow(command)));
}

// What a stranger sends.
std::string KnockBytes(const Command& command) {
  const std::string path = command.Text("path", "/");
  const std::string what = command.Text("what", "upgrade");
  if (what == "ticket") return UpgradeRequest(path, "none-that-was-minted");
  std::string bytes = UpgradeRequest(path);
  if (what == "slow") bytes.resize(bytes.size() - 2);
  if (what == "garbage") {
    uint32_t state = 1;
    bytes.clear();
    for (int i = 0; i < 4096; ++i) {
      state = state * 1664525 + 1013904223;
      bytes += static_cast<char>(state >> 24);
    }
  }
  return bytes;
}

void Knock(const Command& command, Clients& clients, Answer& answer) {
  Knocker knocker(static_cast<uint16_t>(command.Number("port")),
                  KnockBytes(command), command.Real("rate", 100));
  clients.PollUntil(SecondsFromNow(command), [&knocker] {
    knocker.Turn();
    return false;
  });
  answer.Add("attempts", knocker.attempts())
      .Add("outcomes", knocker.outcomes());
  AddTally(clients, answer);
}

void Run(const Command& command, Clients& clients) {
  Answer answer;
  const std::string& name = command.name();
  if (name == "connect") {
    Connect(command, clients, answer);
  } else if (name == "reset") {
    clients.Reset(command.Text("expect") == "some" ? Expect::kSome
                                                   : Expect::kAll);
  } else if (name == "await") {
    Await(command, clients, answer);
  } else if (name == "idle") {
    Idle(command, clients, answer);
  } else if (name == "send") {
    Send(command, clients, answer);
  } else if (name == "talk") {
    Talk(command, clients, answer);
  } else if (name == "stall") {
    clients.Stall(command.Number("count"));
  } else if (name == "resume") {
    clients.Resume(command.Number("count"));
  } else if (name == "flood") {
    Flood(command, clients, answer);
  } else if (name == "knock") {
    Knock(command, clients, answer);
  } else if (name == "drop") {
    clients.DropAll();
  } else {
    answer.Add("error", "unknown command: " + name);
  }
  answer.Send();
}

int Main(bool busy) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  RaiseDescriptorLimit();
  Clients clients(busy);
  CommandInput input;
  for (;;) {
    // Between commands nothing is measured; pings are answered in time.
    pollfd waiting{input.fd(), POLLIN, 0};
    const bool readable = poll(&waiting, 1, 5) > 0;
    clients.Poll(0);
    if (!readable) continue;
    if (!input.Read()) return 0;
    while (const auto command = input.Next()) Run(*command, clients);
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc > 1 && std::string_view(argv[1]) == "--busy");
}
