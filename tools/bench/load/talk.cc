// Requests of the clients, and their answers to the server's.

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "tools/bench/common/frames.h"
#include "tools/bench/load/clients.h"

namespace bench {
namespace {

constexpr std::string_view kReplyHead = R"({"jsonrpc":"2.0","id":)";
constexpr std::string_view kRequestHead = R"({"jsonrpc":"2.0","id":"s)";

}  // namespace

bool Clients::Talk(uint64_t count, size_t flight, size_t size,
                   uint64_t deadline_ns) {
  flight = std::min({flight, clients_.size(), size_t{count}});
  talk_ = TalkState();
  talk_.count = count;
  talk_.params =
      "[\"" + std::string(std::max<size_t>(size, 70) - 66, 'x') + "\"]";
  for (size_t i = 0; i < flight; ++i) Request(i);
  const bool all =
      PollUntil(deadline_ns, [&] { return talk_.replied == count; });
  talk_.count = 0;
  return all;
}

void Clients::Request(size_t index) {
  if (talk_.asked == talk_.count) return;
  ++talk_.asked;
  const uint64_t now = NowNs();
  std::string text(kReplyHead);
  text += std::to_string(now);
  text += R"(,"method":"bench.echo","params":)";
  text += talk_.params;
  text += '}';
  std::string frame;
  AppendClientFrame(kText, text, &frame);
  Write(clients_[index], frame);
}

// A reply carries in its id when it was asked for, and the params as its
// result.
void Clients::TakeReply(size_t index, std::string_view text, uint64_t now) {
  if (text.substr(0, kRequestHead.size()) == kRequestHead) {
    return AnswerRequest(index, text);
  }
  uint64_t asked = 0;
  std::string_view rest = text.substr(std::min(kReplyHead.size(), text.size()));
  const auto id =
      std::from_chars(rest.data(), rest.data() + rest.size(), asked);
  rest.remove_prefix(static_cast<size_t>(id.ptr - rest.data()));
  if (text.substr(0, kReplyHead.size()) != kReplyHead ||
      rest != ",\"result\":" + talk_.params + "}") {
    return Fault("not the reply to a request: " +
                 std::string(text.substr(0, 120)));
  }
  tally_.latency_ns.Add(now - asked);
  ++talk_.replied;
  Request(index);
}

void Clients::AnswerRequest(size_t index, std::string_view text) {
  const size_t begin = kRequestHead.size() - 2;
  const size_t end = text.find('"', begin + 1);
  std::string reply(kReplyHead);
  reply += text.substr(begin, end + 1 - begin);
  reply += R"(,"result":["yes"]})";
  std::string frame;
  AppendClientFrame(kText, reply, &frame);
  Write(clients_[index], frame);
}

}  // namespace bench
