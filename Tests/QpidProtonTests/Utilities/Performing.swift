// SPDX-License-Identifier: Apache-2.0

import NIOEmbedded

@testable import QpidProton

extension NIOAsyncTestingEventLoop {
    /// Runs `body` on the loop, and waits for its result in an order that the thread sanitizer can see.
    @discardableResult
    func perform<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let result: Result<Value, any Error> = await withWaitingTask { waiting in
            self.execute { waiting.resume(returning: Result { try body() }) }
        }
        return try result.get()
    }
}
