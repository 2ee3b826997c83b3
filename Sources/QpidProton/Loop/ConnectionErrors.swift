// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOSSL

/// The translation of the end of a connection into the library's errors.
struct ConnectionErrors {
    /// The host of the connection; `nil` on the server's side.
    let host: String?
    let idleTimeout: Duration?

    var lost: AMQPError {
        AMQPError(
            scope: .connection,
            condition: .connectionLost,
            detail: "the peer closed the socket without closing the connection"
        )
    }

    /// Translates an error of the channel.
    func translate(_ error: any Error, _ context: ChannelHandlerContext?) -> AMQPError {
        if let error = error as? AMQPError { return error }
        let tls = try? context?.pipeline.syncOperations.handler(type: NIOSSLHandler.self)
        var translated =
            error is ChannelError
            ? self.lost
            : AMQPTLSErrors.translate(error, host: self.host, handler: tls)
                ?? AMQPError(scope: .connection, condition: .connectionLost, detail: NetworkError.cause(error))
        translated.underlying = error
        return translated
    }

    /// Returns Proton's error; `nil` if there is none.
    func transportError(of engine: borrowing ProtonEngine) -> AMQPError? {
        guard let error = engine.transportError else { return nil }
        guard error.condition == .resourceLimitExceeded, error.detail == ProtonEngine.idleTimeoutText else {
            return error
        }
        let limit = self.idleTimeout.map { " for \($0)" } ?? ""
        return AMQPError(
            scope: .connection,
            condition: .idleTimeout,
            detail: "no bytes arrived from the peer\(limit)"
        )
    }

    /// Returns the peer's answer to the close of this side, or the error that explains why there is no answer.
    func closeAnswer(_ error: AMQPError, _ engine: borrowing ProtonEngine) -> Result<Void, AMQPError> {
        guard !engine.isRemotelyClosed else {
            return engine.remoteError(.closed).map { .failure($0) } ?? .success(())
        }
        guard error.condition == .closed || error.condition == .connectionLost else { return .failure(error) }
        var lost = error
        (lost.condition, lost.ending) = (.connectionLost, .lost)
        lost.detail = "the peer closed the socket without answering the close"
        return .failure(lost)
    }
}
