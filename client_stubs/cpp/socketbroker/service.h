// Service: a program that answers what clients say, over Attach.
//
//   socketbroker::Service service(client);
//   service.On("orders.*", [&](socketbroker::Context& call) {
//     call.Notify("progress", R"({"percent":50})");
//     return socketbroker::Reply::Result(orders.Create(call.params_json()));
//   });
//   grpc::Status status = service.Run();  // until Drain or Stop
//
// JSON stays text: parse and write it with what the program uses anyway.

#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "socketbroker/client.h"
#include "socketbroker/v1/attach.pb.h"

namespace socketbroker {

struct ServiceOptions {
  // Whose clients. Empty: "default".
  std::string name_space;
  // Handlers that may run at once, each on a thread of its own; 1 to 1,000. It
  // is the message credit. With framing RAW those messages count, too, that
  // wait for an earlier one of their connection.
  uint32_t concurrency = 16;
  // See AttachMessages.sticky.
  v1::AttachMessages::Sticky sticky = v1::AttachMessages::STICKY_UNSPECIFIED;
  // See AttachMessages.idempotent.
  bool idempotent = false;
  // From which connections, as AIP-160 text. Empty: from all.
  std::string filter;
  // Called each time that the service is attached, on the thread of Run.
  std::function<void()> on_started;
  // Told of what Run goes on after, and of handlers that threw; may be called
  // by any thread. Null: nobody is.
  std::function<void(const std::string& what)> on_error;
};

// What a handler says to a request. A notification's is dropped.
class Reply {
 public:
  // A JSON value, sent as it is. For one that is none, or too deep, the client
  // gets -32603, and the broker's log says why. Over 3 MiB, which no endpoint
  // takes, likewise, and on_error is told.
  static Reply Result(std::string json);
  // A JSON-RPC error. `data_json` is a JSON value, or empty. Likewise.
  static Reply Error(int64_t code, std::string message,
                     std::string data_json = {});

 private:
  friend class Service;
  v1::Reply reply_;
};

class Attachment;  // one stream; for Service

// One message of a client, for its handler, on the handler's thread.
class Context {
 public:
  // All that came with it.
  const v1::ClientMessage& message() const { return message_; }
  const std::string& method() const;
  // A JSON object or array, or empty.
  const std::string& params_json() const;
  bool is_notification() const { return message_.has_notification(); }

  // Sends to this client, before the reply. `method` has 1 to 256 bytes and
  // does not begin with `rpc.`, `params_json` is a JSON object or array, or
  // empty: what is wrong is not sent, and the broker's log says why. False: the
  // stream has ended, or it is over 3 MiB, which no endpoint takes.
  bool Notify(const std::string& method, const std::string& params_json = {});
  // Any message; in a namespace with framing RAW that is the answer.
  bool Send(const v1::Message& message);

  // Nobody waits for the reply any more: the client cancelled or left, the
  // stream was lost, or Stop was called.
  bool cancelled() const;

 private:
  friend class Service;
  Context(std::shared_ptr<Attachment> attachment, v1::ClientMessage message);

  const std::shared_ptr<Attachment> attachment_;
  const v1::ClientMessage message_;
};

class Service {
 public:
  using Handler = std::function<Reply(Context&)>;
  using RawHandler = std::function<void(Context&)>;

  // The client must outlive it.
  explicit Service(Client& client, ServiceOptions options = {});
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Before Run. A pattern is a method, all methods with a prefix, such as
  // `orders.*`, or `*`; the most specific one decides. What a handler throws is
  // told to on_error, and the client gets -32603 "Internal error".
  void On(const std::string& pattern, Handler handler);
  // Of a namespace with framing RAW, where there are no methods. The messages
  // of a connection are handled one after another.
  void OnMessage(RawHandler handler);

  // Serves until Drain or Stop. When the stream ends it attaches again, after a
  // random time of at most 0.1 s, doubled with each failure up to 10 s. Returns
  // OK after Drain or Stop; the error when attaching again is no use:
  // INVALID_ARGUMENT of the options or the handlers, UNAUTHENTICATED,
  // PERMISSION_DENIED. Once: FAILED_PRECONDITION when it runs, or has run.
  grpc::Status Run();

  // Takes nothing new, lets handlers end, and ends Run. From any thread.
  void Drain();
  // Ends Run at once; handlers that run see `cancelled`, and Run waits for
  // them.
  void Stop();

 private:
  struct State;

  grpc::Status Attach();
  void Serve(const std::shared_ptr<Attachment>& attachment);
  void Handle(const std::shared_ptr<Attachment>& attachment,
              v1::ClientMessage message);
  void Answer(const std::shared_ptr<Attachment>& attachment,
              v1::ClientMessage message);
  const Handler* Find(const std::string& method) const;
  void Tell(const std::string& what) const;
  bool Pause(int failures);

  Client& client_;
  const ServiceOptions options_;
  std::map<std::string, Handler> handlers_;
  RawHandler raw_;
  const std::unique_ptr<State> state_;
};

}  // namespace socketbroker
