// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The peer of ``Offer``, which also checks its figures.
struct NeverReads: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "never-reads",
        abstract: "Offers 10 GB to a peer that never reads: the memory stays within the send limit.",
        discussion: """
            Four senders of a session offer messages of 1 byte to 10 MB, with trySend and with cancelled calls of enqueue. \
            The peer grants unlimited credit and window, and does not read its socket. Refused and withdrawn messages count \
            as offered. At the end the peer closes the socket.
            """
    )

    @Option(help: "The bytes to offer.")
    var bytes = 10_000_000_000

    @Option(help: "The seed of the random sizes.")
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
        guard await child.line("offered") != nil else { throw Failure("the sending process ended early") }
        await peer.close()
        let code = await child.end()
        if code != 0 { throw ExitCode(code) }
    }
}
