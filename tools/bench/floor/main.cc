// bench_floor: what a broker's work costs when nothing is done but what must
// be. It says {"port":n} and then takes commands (see common/commands.h):
//
//   broadcast count= bytes= [burst=1] [rate=]  to all; `burst` messages are one
//                                buffer and one send; `rate` bursts in a second
//   random count= bytes=         each message to one client, drawn at random
//   close count= code=           close frames to the first ones
//   ping every_ms= count=        pings all so often, takes the pongs
//   tls certificate= key=        PEM files, for clients that come from now on
//   stat

#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <string>

#include "tools/bench/common/commands.h"
#include "tools/bench/common/frames.h"
#include "tools/bench/common/payload.h"
#include "tools/bench/floor/server.h"

namespace bench {
namespace {

class Floor {
 public:
  int Run();

 private:
  void Do(const Command& command);
  void Broadcast(const Command& command, Answer& answer);
  void Random(const Command& command, Answer& answer);
  void Ping(const Command& command, Answer& answer);
  std::string NextMessage(size_t size, uint64_t sender, uint64_t* count);
  size_t Draw();

  FloorServer server_;
  CommandInput input_;
  uint64_t sent_ = 0;
  uint64_t random_ = 0x9e3779b97f4a7c15u;
};

std::string Floor::NextMessage(size_t size, uint64_t sender, uint64_t* count) {
  std::string frame;
  AppendServerFrame(
      kBinary, MakePayload(Sequence(sender, ++*count), NowNs(), size), &frame);
  return frame;
}

void Floor::Broadcast(const Command& command, Answer& answer) {
  const uint64_t burst = std::max<uint64_t>(1, command.Number("burst", 1));
  const uint64_t bursts = command.Number("count") / burst;
  const double rate = command.Real("rate");
  const uint64_t start = NowNs();
  for (uint64_t done = 0; done < bursts; ++done) {
    const auto due =
        start + static_cast<uint64_t>(
                    rate > 0 ? static_cast<double>(done) / rate * 1e9 : 0);
    while (NowNs() < due) server_.Poll(1);
    std::string bytes;
    for (uint64_t i = 0; i < burst; ++i) {
      bytes += NextMessage(command.Number("bytes"), 0, &sent_);
    }
    server_.SendToAll(bytes);
    server_.Poll(0);
  }
  answer.Add("start_ns", start).Add("end_ns", NowNs());
}

// xorshift64.
size_t Floor::Draw() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<size_t>(random_ % server_.size());
}

void Floor::Random(const Command& command, Answer& answer) {
  const uint64_t start = NowNs();
  for (uint64_t i = 0; i < command.Number("count"); ++i) {
    server_.SendTo(Draw(), NextMessage(command.Number("bytes"), 0, &sent_));
    if (i % 64 == 63) server_.Poll(0);
  }
  answer.Add("start_ns", start).Add("end_ns", NowNs());
}

void Floor::Ping(const Command& command, Answer& answer) {
  const uint64_t every = command.Number("every_ms", 1000) * 1'000'000;
  const uint64_t pongs_before = server_.pongs();
  std::string ping;
  AppendServerFrame(kPing, "", &ping);
  uint64_t next = NowNs();
  for (uint64_t i = 0; i < command.Number("count"); ++i) {
    server_.SendToAll(ping);
    next += every;
    // Sleeps for long: this is what idle clients cost.
    for (uint64_t now = NowNs(); now < next; now = NowNs()) {
      server_.Poll(static_cast<int>((next - now) / 1'000'000 + 1));
    }
  }
  answer.Add("pongs", server_.pongs() - pongs_before);
}

void Floor::Do(const Command& command) {
  Answer answer;
  if (command.name() == "broadcast") {
    Broadcast(command, answer);
  } else if (command.name() == "random") {
    Random(command, answer);
  } else if (command.name() == "close") {
    answer.Add("start_ns", NowNs());
    server_.CloseFirst(command.Number("count"),
                       static_cast<uint16_t>(command.Number("code", 4001)));
    answer.Add("end_ns", NowNs());
  } else if (command.name() == "ping") {
    Ping(command, answer);
  } else if (command.name() == "tls") {
    server_.UseTls(command.Text("certificate"), command.Text("key"));
  } else if (command.name() != "stat") {
    answer.Add("error", "unknown command: " + command.name());
  }
  answer.Add("open", static_cast<uint64_t>(server_.open()))
      .Add("received", server_.messages())
      .Add("others", server_.others())
      .Send();
}

int Floor::Run() {
  Answer().Add("port", uint64_t{server_.port()}).Send();
  server_.WakeOn(input_.fd());
  while (input_.Read()) {
    while (const auto command = input_.Next()) Do(*command);
    server_.Poll(-1);
  }
  return 0;
}

}  // namespace
}  // namespace bench

int main() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench::RaiseDescriptorLimit();
  return bench::Floor().Run();
}
