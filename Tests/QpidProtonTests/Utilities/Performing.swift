// SPDX-License-Identifier: Apache-2.0

import NIOEmbedded

@testable import QpidProton

extension NIOAsyncTestingEventLoop {
    /// Runs work on the loop, and waits for what it returns in a way whose order the thread sanitizer sees.
    @discardableResult
    func perform<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let result: Result<Value, any Error> = await withWaitingTask { waiting in
            self.execute { waiting.resume(returning: Result { try body() }) }
        }
        return try result.get()
    }
}
