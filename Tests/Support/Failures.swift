// SPDX-License-Identifier: Apache-2.0

package import QpidProton

/// The error of an operation that should have failed.
package struct NoFailure: Error, CustomStringConvertible {
    package let what: String
    package var description: String { "\(self.what) did not fail" }

    package init(what: String) { self.what = what }
}

/// Runs `body`, which must throw an `AMQPError` within a deadline, and returns that error.
package func failure<Result: Sendable>(
    of what: String,
    within limit: Duration = .seconds(60),
    _ body: @escaping @Sendable () async throws -> Result
) async throws -> AMQPError {
    do {
        _ = try await within(what, limit: limit, body)
    } catch let error as AMQPError {
        return error
    }
    throw NoFailure(what: what)
}

/// Connects, which must fail within a deadline, and returns the error.
package func connectFailure(
    _ url: String,
    within limit: Duration = .seconds(60),
    _ configure: (inout AMQPConnection.Configuration) -> Void = { _ in }
) async throws -> AMQPError {
    var settings = AMQPConnection.Configuration()
    configure(&settings)
    let configuration = settings
    return try await failure(of: "connecting to \(url)", within: limit) {
        try await AMQPConnection.connect(to: url, configuration: configuration)
    }
}

extension AMQPCloseResult {
    /// Throws the error that the close ended with.
    package func check() throws(AMQPError) {
        if let error = self.error { throw error }
    }
}
