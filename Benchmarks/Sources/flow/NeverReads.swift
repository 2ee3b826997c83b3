// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The peer of ``Offer``, and its judge.
struct NeverReads: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "never-reads",
        abstract: "Offers 10 GB to a peer that never reads: the memory stays within the send limit.",
        discussion: """
            Four senders of a session offer messages of 1 byte to 10 MB, by trySend and by enqueue, which is cancelled. The \
            peer grants credit and a window without end, and does not read its socket. What is refused or taken back has \
            been offered too. In the end the peer closes the socket.
            """
    )

    @Option(help: "The bytes to offer.")
    var bytes = 10_000_000_000

    @Option(help: "Where the random sizes begin.")
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("The send limit of the session, in bytes.", valueName: "bytes"))
    var limit = 1_048_576

    func run() async throws {
        Watchdog.start("never-reads", limit: .seconds(180))
        let peer = try await SilentPeer.listen(links: Offer.senders)
        let child = try ChildProcess([
            Offer._commandName, "--port", "\(peer.port)", "--bytes", "\(self.bytes)", "--seed", "\(self.seed)",
            "--limit",
            "\(self.limit)",
        ])
        guard await child.line("offered") != nil else { throw Failure("the side that offers has ended early") }
        await peer.close()
        let code = await child.end()
        if code != 0 { throw ExitCode(code) }
    }
}
