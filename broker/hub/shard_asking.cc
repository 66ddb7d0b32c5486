// Requests of services to clients.

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/log.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/hub/shard.h"

namespace broker {
namespace {

absl::Status WrongState(const ConnectionId& id, absl::string_view is,
                        absl::string_view reason) {
  return WithReason(absl::FailedPreconditionError(
                        absl::StrCat("connection ", id.ToString(), " ", is)),
                    std::string(reason));
}

}  // namespace

absl::StatusOr<uint64_t> Shard::Ask(const ConnectionId& id,
                                    const AskCommand& command,
                                    std::function<void(AskOutcome)> settle,
                                    const Reach* within) {
  on_shard_.AssertHeld();
  using Kind = AskOutcome::Kind;
  BROKER_ASSIGN_OR_RETURN(const Slot slot, FindOpen(id, within));
  if (Info(slot).state == ConnectionState::kPending) {
    return WrongState(id,
                      "is pending: nothing is sent to it before it is admitted",
                      "CONNECTION_PENDING");
  }
  if (sessions_[slot]->endpoint->framing == Framing::kRaw) {
    return WrongState(id,
                      "is of a namespace with framing RAW: it knows of no "
                      "requests",
                      "FRAMING_RAW");
  }
  Conversation& conversation = ConversationOf(slot);
  if (conversation.questions.size() >= Conversation::kMaxQuestions) {
    settle({Kind::kTooManyInFlight, ""});
    return 0;
  }
  const uint64_t number = shared_.last_question.fetch_add(1) + 1;
  const FramePtr request = Frame::Encode(
      Opcode::kText, MakeRequest(number, command.method, command.params_json));
  BROKER_RETURN_IF_ERROR(
      CheckRequestFits(*request, sessions_[slot]->endpoint->max_message_bytes));
  stats_.questions.Add();
  auto question = std::make_unique<Question>();
  question->settle = std::move(settle);
  transport_.timers().Arm(
      question->timer,
      shared_.clock.Monotonic() +
          std::chrono::milliseconds(absl::ToInt64Milliseconds(command.timeout)),
      [this, slot, number] {
        on_shard_.AssertHeld();
        GiveUp(slot, number, Kind::kTimeout);
      });
  conversation.questions[number] = std::move(question);
  SendResult result;
  transport_.Send({&slot, 1}, request, &result);
  if (result == SendResult::kQueued) {
    stats_.messages_out.Add();
    return number;
  }
  // Before the close, which would settle it as gone.
  const bool slow = result == SendResult::kTooSlow;
  Settle(slot, number, {slow ? Kind::kDroppedSlow : Kind::kGone, ""});
  if (slow) {
    stats_.messages_out_dropped_slow.Add();
    Close(slot, CloseCode::kSlowConsumer);
  }
  return 0;
}

void Shard::Unask(const ConnectionId& id, uint64_t number) {
  on_shard_.AssertHeld();
  const std::optional<Slot> slot = registry_.Find(id);
  if (slot) GiveUp(*slot, number, AskOutcome::Kind::kCancelled);
}

uint64_t Shard::AskFiltered(const AskFilteredCommand& command,
                            const AskFeedPtr& feed) {
  on_shard_.AssertHeld();
  std::vector<Slot> slots;
  registry_.Select(command.ns, *command.predicate, {ConnectionState::kAdmitted},
                   slots);
  uint64_t asked = 0;
  for (const Slot slot : slots) {
    const ConnectionId id = Info(slot).id;
    if (command.exclude.contains(id)) continue;
    ++asked;
    const auto settle = [feed, id](AskOutcome outcome) {
      feed->Add({id, std::move(outcome)});
    };
    // They were enough before this one had its turn.
    if (feed->given_up()) {
      settle({AskOutcome::Kind::kCancelled, ""});
      continue;
    }
    const absl::StatusOr<uint64_t> number = Ask(id, command.ask, settle);
    if (!number.ok()) {
      settle({AskOutcome::Kind::kGone, ""});
    } else if (*number != 0) {
      feed->asked(index_).emplace_back(id, *number);
    }
  }
  return asked;
}

void Shard::UnaskAll(AskFeed& feed) {
  on_shard_.AssertHeld();
  for (const auto& [id, number] : feed.asked(index_)) Unask(id, number);
  feed.asked(index_).clear();
}

void Shard::OnClientReply(Slot slot, const Envelope& reply) {
  static LogLimiter unmatched{1};  // one line a second
  const uint64_t number = ReadRequestNumber(reply.reply_to);
  const auto& conversation = sessions_[slot]->conversation;
  if (number == 0 || conversation == nullptr ||
      !conversation->questions.contains(number)) {
    stats_.messages_in_dropped.Add();
    stats_.replies_unmatched.Add();
    unmatched.Log(LogLevel::kInfo, "reply_unmatched",
                  "a client replied to what it was not asked, or too late",
                  {{"connection", Info(slot).id.ToString()}});
    return;
  }
  Settle(slot, number,
         {reply.kind == EnvelopeKind::kResponse ? AskOutcome::Kind::kResult
                                                : AskOutcome::Kind::kError,
          std::string(reply.outcome_json)});
}

void Shard::Settle(Slot slot, uint64_t number, AskOutcome outcome) {
  auto& questions = sessions_[slot]->conversation->questions;
  const auto it = questions.find(number);
  if (it == questions.end()) return;
  // Out first: who is told may ask again.
  const std::unique_ptr<Question> question = std::move(it->second);
  questions.erase(it);
  question->settle(std::move(outcome));
}

void Shard::GiveUp(Slot slot, uint64_t number, AskOutcome::Kind how) {
  const auto& conversation = sessions_[slot]->conversation;
  if (conversation == nullptr || !conversation->questions.contains(number)) {
    return;
  }
  Settle(slot, number, {how, ""});
  const std::string& method = sessions_[slot]->endpoint->cancel_method;
  if (method.empty()) return;
  SendText(slot, MakeNotification(method, absl::StrCat(R"({"request_id":"s)",
                                                       number, R"("})")));
}

}  // namespace broker
