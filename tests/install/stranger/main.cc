// Uses the installed client: calls a broker that is not there.

#include <socketbroker/client.h>

#include <chrono>
#include <iostream>

int main() {
  socketbroker::ClientOptions options;
  options.deadline = std::chrono::seconds(5);
  options.wait_for_ready = false;
  // Port 1 is reserved, and nobody listens there.
  socketbroker::Client client("127.0.0.1:1", options);

  socketbroker::v1::SendRequest request;
  request.mutable_message()->set_text("hello");
  socketbroker::v1::SendResponse response;
  const grpc::Status status = client.Send(request, &response);
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    std::cerr << "expected UNAVAILABLE, got " << status.error_code() << ": "
              << status.error_message() << "\n";
    return 1;
  }
  return socketbroker::GetErrorDetails(status).reason.empty() ? 0 : 1;
}
