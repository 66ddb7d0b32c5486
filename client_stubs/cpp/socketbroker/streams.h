// The streams of the API. Client makes them; it must outlive them.

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>

#include "socketbroker/v1/socket_broker.pb.h"

namespace socketbroker {

// What the broker says on a stream, one response after another. For one thread,
// but for Cancel.
template <typename Response>
class ResponseStream {
 public:
  ~ResponseStream() {
    Cancel();
    Finish();
  }
  ResponseStream(const ResponseStream&) = delete;
  ResponseStream& operator=(const ResponseStream&) = delete;

  // Waits for the next response. False: the stream has ended, see Finish.
  bool Read(Response* response) {
    return !finished_ && reader_->Read(response);
  }

  // Why it ended. Call it after Read has returned false, or after Cancel.
  grpc::Status Finish() {
    if (!finished_) {
      // gRPC wants the stream read to its end first.
      Response response;
      while (reader_->Read(&response)) {
      }
      finished_ = reader_->Finish();
    }
    return *finished_;
  }

  // Ends the stream with CANCELLED. From any thread, any number of times.
  void Cancel() { context_.TryCancel(); }

 private:
  friend class Client;
  ResponseStream() = default;

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderInterface<Response>> reader_;
  std::optional<grpc::Status> finished_;
};

// A stream in both directions. One thread may write while another reads; Cancel
// is for any.
template <typename Request, typename Response>
class BidiStream {
 public:
  ~BidiStream() {
    Cancel();
    Finish();
  }
  BidiStream(const BidiStream&) = delete;
  BidiStream& operator=(const BidiStream&) = delete;

  // Waits while the broker takes no more; the first of an AttachStream, which
  // must be its start and come before any Read, waits for the connection, too.
  // False: the stream has ended, see Finish.
  bool Write(const Request& request) { return stream_->Write(request); }
  // There is no more to say. What is to be read still comes.
  bool WritesDone() { return stream_->WritesDone(); }
  // Waits for the next response. False: there are no more, or the stream has
  // ended.
  bool Read(Response* response) {
    return !finished_ && stream_->Read(response);
  }

  // How it ended. Reads what is left; call it when there is nothing to write,
  // or after Cancel.
  grpc::Status Finish() {
    if (!finished_) {
      Response response;
      while (stream_->Read(&response)) {
      }
      finished_ = stream_->Finish();
    }
    return *finished_;
  }
  // Ends the stream with CANCELLED. What was written may be done or not.
  void Cancel() { context_.TryCancel(); }

 private:
  friend class Client;
  BidiStream() = default;

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriterInterface<Request, Response>> stream_;
  std::optional<grpc::Status> finished_;
};

using ConnectionWatch = ResponseStream<v1::WatchConnectionsResponse>;
// The outcomes of RequestFiltered.
using ClientReplies = ResponseStream<v1::RequestFilteredResponse>;
// Things to do, see Publish in socket_broker.proto: each request has one
// response. An item's error: see ToStatus in error.h.
using PublishStream = BidiStream<v1::PublishRequest, v1::PublishResponse>;
// An attached service, see Attach in socket_broker.proto, and Service in
// service.h for a framework on top of it.
using AttachStream = BidiStream<v1::AttachRequest, v1::AttachResponse>;

}  // namespace socketbroker
