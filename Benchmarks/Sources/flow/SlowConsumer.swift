// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import QpidProton

/// The sender to ``Consume``.
struct SlowConsumer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slow-consumer",
        abstract: "Sends messages of 1 byte to 64 MiB to a slow consumer: what it buffers stays within its window.",
        discussion: """
            The session has 1 MiB; the consumer takes 100 MB/s, and 20 ms a message at least. It \
            takes messages whole in a window of 80 MiB, and then streamed in one of 8 MiB.
            """
    )

    @Option(help: "The messages to send, each way.")
    var messages = 200

    @Option(help: ArgumentHelp("The most seconds to send, each way.", valueName: "seconds"))
    var seconds = 60.0

    @Option(help: "Where the random sizes begin.")
    var seed: UInt64 = 1

    func run() async throws {
        Watchdog.start("slow-consumer", limit: .seconds(4 * self.seconds + 60))
        // No two blocks of 64 KiB are alike.
        var random = SeededRandom(seed: self.seed)
        var body = ByteBuffer()
        let block = (0..<8_191).map { _ in random.next() }
        for index in 0..<UInt64(1_024) {
            body.writeInteger(index)
            for number in block { body.writeInteger(number) }
        }
        Report("slow-consumer").note("seed", Double(self.seed))
        var codes: [Int32] = []
        for mode in ["whole", "streamed"] {
            let child = try ChildProcess([Consume._commandName, "--mode", mode])
            try await self.send(body, mode, to: child.port())
            codes.append(await child.end())
        }
        if let code = codes.first(where: { $0 != 0 }) { throw ExitCode(code) }
    }

    private func send(_ body: ByteBuffer, _ mode: String, to port: Int) async throws {
        var random = SeededRandom(seed: self.seed &+ 1)
        let clock = ContinuousClock()
        let start = clock.now
        try await AMQPConnection.withConnection(to: "amqp://127.0.0.1:\(port)") { connection in
            let sender = try await connection.openSession().openSender(to: mode)
            var last: AMQPTracker?
            for _ in 0..<self.messages where clock.now - start < .seconds(self.seconds) {
                let size = random.size(upTo: body.readableBytes)
                let part = body.getSlice(at: body.readerIndex, length: size) ?? ByteBuffer()
                last = try await sender.enqueue(AMQPMessage(body: part))
            }
            _ = try await last?.outcome()
            // The consumer sees the end of the link, and tells its figures.
            await sender.close()
        }
    }
}
