// One stream after another in Run; handlers on threads of their own.

#include "socketbroker/service.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "socketbroker/attachment.h"

namespace socketbroker {
namespace {

constexpr uint32_t kMaxConcurrency = 1'000;

// The most that `max_message_bytes` of an endpoint may be. The broker ends the
// stream at what is much longer, and with it what else is open.
constexpr size_t kMaxMessageBytes = 3 * 1024 * 1024;

bool IsTooLong(const google::protobuf::Message& message) {
  return message.ByteSizeLong() > kMaxMessageBytes + 1024;  // what is around it
}

}  // namespace

// ---- what handlers say ------------------------------------------------------

Reply Reply::Result(std::string json) {
  Reply reply;
  reply.reply_.set_result_json(std::move(json));
  return reply;
}

Reply Reply::Error(int64_t code, std::string message, std::string data_json) {
  Reply reply;
  v1::JsonRpcError* error = reply.reply_.mutable_error();
  error->set_code(code);
  error->set_message(std::move(message));
  if (!data_json.empty()) error->set_data_json(std::move(data_json));
  return reply;
}

Context::Context(std::shared_ptr<Attachment> attachment,
                 v1::ClientMessage message)
    : attachment_(std::move(attachment)), message_(std::move(message)) {}

const std::string& Context::method() const {
  return is_notification() ? message_.notification().method()
                           : message_.request().method();
}

const std::string& Context::params_json() const {
  return is_notification() ? message_.notification().params_json()
                           : message_.request().params_json();
}

bool Context::Notify(const std::string& method,
                     const std::string& params_json) {
  v1::Message message;
  message.mutable_notification()->set_method(method);
  if (!params_json.empty()) {
    message.mutable_notification()->set_params_json(params_json);
  }
  return Send(message);
}

bool Context::Send(const v1::Message& message) {
  if (IsTooLong(message)) return false;
  v1::AttachRequest request;
  request.mutable_send()->set_connection_id(message_.connection_id());
  *request.mutable_send()->mutable_message() = message;
  return attachment_->Write(request);
}

bool Context::cancelled() const {
  return attachment_->IsCancelled(message_.message_id());
}

// ---- the service ------------------------------------------------------------

struct Service::State {
  struct Task {
    std::string order;  // tasks of the same run one after another; empty: any
    std::function<void()> run;
  };

  std::mutex mu;
  std::condition_variable changed;
  bool ran = false;
  bool draining = false;
  bool stopped = false;
  std::shared_ptr<Attachment> attachment;  // the newest; it may have ended
  std::deque<Task> tasks;
  uint32_t open = 0;           // messages, those of lost streams, too
  std::set<std::string> busy;  // orders whose task runs
  bool closing = false;        // workers end when there is nothing to do

  void Work() {
    std::unique_lock lock(mu);
    for (;;) {
      const auto next =
          std::find_if(tasks.begin(), tasks.end(), [&](const Task& task) {
            return task.order.empty() || busy.count(task.order) == 0;
          });
      if (next == tasks.end()) {
        if (closing && tasks.empty()) return;
        changed.wait(lock);
        continue;
      }
      const Task task = std::move(*next);
      tasks.erase(next);
      if (!task.order.empty()) busy.insert(task.order);
      lock.unlock();
      task.run();
      lock.lock();
      busy.erase(task.order);
      changed.notify_all();
    }
  }
};

Service::Service(Client& client, ServiceOptions options)
    : client_(client),
      options_(std::move(options)),
      state_(std::make_unique<State>()) {}

Service::~Service() = default;

void Service::On(const std::string& pattern, Handler handler) {
  handlers_[pattern] = std::move(handler);
}

void Service::OnMessage(RawHandler handler) { raw_ = std::move(handler); }

grpc::Status Service::Run() {
  if (options_.concurrency < 1 || options_.concurrency > kMaxConcurrency) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "concurrency is " + std::to_string(options_.concurrency) +
                ", 1 to " + std::to_string(kMaxConcurrency) + " are allowed"};
  }
  if (raw_ && !handlers_.empty()) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "On and OnMessage exclude each other: a namespace has one framing"};
  }
  {
    const std::lock_guard lock(state_->mu);
    if (std::exchange(state_->ran, true)) {
      return {grpc::StatusCode::FAILED_PRECONDITION,
              "the service runs, or has run, already"};
    }
  }
  std::vector<std::thread> workers;
  for (uint32_t i = 0; i < options_.concurrency; ++i) {
    workers.emplace_back([this] { state_->Work(); });
  }
  grpc::Status status = Attach();
  {
    const std::lock_guard lock(state_->mu);
    state_->closing = true;
    state_->changed.notify_all();
  }
  for (std::thread& worker : workers) worker.join();
  return status;
}

// Until it is no use.
grpc::Status Service::Attach() {
  for (int failures = 0;; ++failures) {
    v1::AttachRequest start;
    v1::AttachStart& how = *start.mutable_start();
    if (!options_.name_space.empty()) how.set_namespace_(options_.name_space);
    v1::AttachMessages& messages = *how.mutable_messages();
    for (const auto& [pattern, handler] : handlers_) {
      messages.add_methods(pattern);
    }
    messages.set_sticky(options_.sticky);
    messages.set_idempotent(options_.idempotent);
    if (!options_.filter.empty()) messages.set_filter(options_.filter);

    std::unique_ptr<AttachStream> stream = client_.Attach();
    std::shared_ptr<Attachment> attachment;
    {
      const std::lock_guard lock(state_->mu);
      if (state_->stopped || state_->draining) return grpc::Status::OK;
      // What handlers still have of a lost stream is given as they end.
      const uint32_t open = std::min(state_->open, options_.concurrency);
      attachment = state_->attachment = std::make_shared<Attachment>(
          std::move(stream), options_.concurrency, options_.concurrency - open);
    }
    attachment->Start(start);
    v1::AttachResponse told;
    const bool started = attachment->Read(&told);
    if (started) {
      failures = 0;
      if (options_.on_started) options_.on_started();
      Serve(attachment);
    }
    grpc::Status status = attachment->Finish();
    bool draining, stopped;
    {
      const std::lock_guard lock(state_->mu);
      draining = state_->draining;
      stopped = state_->stopped;
    }
    if (!draining || !status.ok()) attachment->Abandon();
    if (stopped) return grpc::Status::OK;
    if (draining) {
      if (started && !status.ok()) {
        Tell("the stream was lost while it was drained: " +
             status.error_message());
      }
      return grpc::Status::OK;
    }
    // Once it has started, the start was right: an INVALID_ARGUMENT is then
    // about what one handler sent.
    const grpc::StatusCode code = status.error_code();
    if ((code == grpc::INVALID_ARGUMENT && !started) ||
        code == grpc::UNAUTHENTICATED || code == grpc::PERMISSION_DENIED) {
      return status;
    }
    Tell("the stream ended: " + status.error_message());
    if (!Pause(failures)) return grpc::Status::OK;
  }
}

void Service::Serve(const std::shared_ptr<Attachment>& attachment) {
  v1::AttachResponse told;
  while (attachment->Read(&told)) {
    if (told.has_request_cancelled()) {
      attachment->OnCancelled(told.request_cancelled().message_id());
    }
    if (!told.has_client_message()) continue;
    attachment->Take(told.client_message().message_id());
    auto message = std::make_shared<v1::ClientMessage>();
    message->Swap(told.mutable_client_message());
    const std::lock_guard lock(state_->mu);
    ++state_->open;
    state_->tasks.push_back(
        {raw_ ? message->connection_id() : "", [this, attachment, message] {
           Handle(attachment, std::move(*message));
         }});
    state_->changed.notify_all();
  }
}

void Service::Handle(const std::shared_ptr<Attachment>& attachment,
                     v1::ClientMessage message) {
  const uint64_t id = message.message_id();
  // Else it was over before it began.
  if (!message.has_request() || !attachment->IsCancelled(id)) {
    Answer(attachment, std::move(message));
  }
  attachment->Close(id);
  std::shared_ptr<Attachment> newest;
  {
    const std::lock_guard lock(state_->mu);
    --state_->open;
    newest = state_->attachment;
  }
  // Behind the reply: so the broker never has more open than there are
  // handlers.
  newest->GiveBack();
}

void Service::Answer(const std::shared_ptr<Attachment>& attachment,
                     v1::ClientMessage message) {
  const uint64_t id = message.message_id();
  Context context(attachment, std::move(message));
  Reply reply = Reply::Error(-32603, "Internal error");
  try {
    if (raw_) {
      raw_(context);
    } else if (const Handler* handler = Find(context.method())) {
      reply = (*handler)(context);
    }
  } catch (const std::exception& error) {
    Tell(std::string("a handler threw: ") + error.what());
  } catch (...) {
    Tell("a handler threw");
  }
  if (IsTooLong(reply.reply_)) {
    Tell("a reply of " + std::to_string(reply.reply_.ByteSizeLong()) +
         " bytes, at most " + std::to_string(kMaxMessageBytes) +
         " are allowed anywhere");
    reply = Reply::Error(-32603, "Internal error");
  }
  if (context.message().has_request() && !context.cancelled()) {
    v1::AttachRequest request;
    request.mutable_reply()->Swap(&reply.reply_);
    request.mutable_reply()->set_message_id(id);
    attachment->Write(request);
  }
}

const Service::Handler* Service::Find(const std::string& method) const {
  const auto exact = handlers_.find(method);
  if (exact != handlers_.end() && method.back() != '*') return &exact->second;
  for (size_t size = method.size() + 1; size-- > 0;) {
    const auto prefix = handlers_.find(method.substr(0, size) + "*");
    if (prefix != handlers_.end()) return &prefix->second;
  }
  return nullptr;
}

void Service::Tell(const std::string& what) const {
  if (options_.on_error) options_.on_error(what);
}

// False: it is to end instead.
bool Service::Pause(int failures) {
  thread_local std::mt19937_64 random(std::random_device{}());
  const int64_t most =
      std::min<int64_t>(10'000, int64_t{100} << std::min(failures, 10));
  const std::chrono::milliseconds wait(
      std::uniform_int_distribution<int64_t>(0, most)(random));
  std::unique_lock lock(state_->mu);
  state_->changed.wait_for(
      lock, wait, [this] { return state_->stopped || state_->draining; });
  return !state_->stopped && !state_->draining;
}

void Service::Drain() {
  std::shared_ptr<Attachment> attachment;
  {
    const std::lock_guard lock(state_->mu);
    state_->draining = true;
    attachment = state_->attachment;
    state_->changed.notify_all();
  }
  if (attachment != nullptr) attachment->Drain();
}

void Service::Stop() {
  const std::lock_guard lock(state_->mu);
  state_->stopped = true;
  if (state_->attachment != nullptr) {
    state_->attachment->Cancel();
    state_->attachment->Abandon();
  }
  state_->changed.notify_all();
}

}  // namespace socketbroker
