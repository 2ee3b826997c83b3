// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import QpidProton

/// The sending process for ``Consume``.
struct SlowConsumer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slow-consumer",
        abstract: "Sends messages of 1 byte to 64 MiB to a slow consumer, whose buffer must stay within its window.",
        discussion: """
            The session has 1 MiB. The consumer reads 100 MB/s, and needs at least 20 ms per message. It receives whole \
            messages with a window of 80 MiB, and then streamed messages with a window of 8 MiB.
            """
    )

    @Option(help: "The messages to send in each way.")
    var messages = 200

    @Option(help: ArgumentHelp("The maximum time to send in each way.", valueName: "seconds"))
    var seconds = 60.0

    @Option(help: "The seed of the random sizes.")
    var seed: UInt64 = 1

    func run() async throws {
        Watchdog.start("slow-consumer", limit: .seconds(4 * self.seconds + 60))
        // All blocks of 64 KiB differ.
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
            // The end of the link makes the consumer print its figures.
            await sender.close()
        }
    }
}
