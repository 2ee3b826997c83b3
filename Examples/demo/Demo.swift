// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleSupport
import Foundation
import NIOCore

@main
enum Main {
    static func main() { Program.main(Demo.self) }
}

/// Relays a tree of files with the other executables, and compares the copies with the originals.
struct Demo: ExampleCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Relay a tree of files from a sender to a receiver, through a broker and directly, and compare.",
        discussion: """
            Examples:
              demo
              demo ~/photos
              demo --json

            The other executables are expected beside this one.

            Exit codes:
              0    all copies equal their originals
              1    an error, or a copy that differs; stderr names it
              64   options that cannot be used
              130  ended by Ctrl-C (143 by SIGTERM); a second signal ends it at once
            """
    )

    @Argument(help: "The folder to relay. If left out, the demo relays the tracked files of the git repository here.")
    var directory: String?

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let source =
            if let directory = self.directory { directory } else { try await Self.copyTrackedFiles(to: scratch) }
        let files = try Tree.count(source)
        guard files > 0 else { throw Failure("there are no files in \(source)") }
        let relay = Relay(source: source, files: files, showsProgress: self.output.progress)
        var rows: [Row] = []
        rows.append(try await relay.throughBroker(to: scratch.path("through-broker")))
        rows.append(try await relay.directly(to: scratch.path("direct")))
        for row in rows {
            let differences = try Tree.compare(source, row.copy)
            guard differences.isEmpty else {
                let more = differences.count > 1 ? " (and \(differences.count - 1) more)" : ""
                throw Failure("\(row.route): \(differences[0])\(more)")
            }
        }
        if self.output.json {
            var report = Report()
            report.add("routes", rows.map(\.report))
            try report.print()
        } else {
            let text = Row.table(rows) + "All \(files) files came through equal, both ways.\n"
            try File.standardOutput().write(ByteBuffer(string: text), what: "stdout")
        }
    }

    private static func copyTrackedFiles(to scratch: Scratch) async throws -> String {
        // The error text of git names neither the cause nor the remedy.
        guard let top = try await Child.outputIfSuccessful(of: ["git", "rev-parse", "--show-toplevel"]) else {
            throw Failure(
                "this folder belongs to no git repository: name the folder to relay, as in 'demo Sources'",
                exitCode: ExitCode.validationFailure.rawValue
            )
        }
        let root = String(top.unicodeScalars.dropLast())
        let list = try await Child.output(of: ["git", "-C", root, "ls-files", "-z"])
        let copy = scratch.path("source")
        let manager = FileManager.default
        try manager.createDirectory(atPath: copy, withIntermediateDirectories: true)
        for path in list.split(separator: "\0") {
            var isDirectory: ObjCBool = false
            // The path is a deleted tracked file, or a submodule.
            let original = "\(root)/\(path)"
            guard manager.fileExists(atPath: original, isDirectory: &isDirectory), !isDirectory.boolValue else {
                continue
            }
            let place = "\(copy)/\(path)"
            let folder = (place as NSString).deletingLastPathComponent
            try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try manager.copyItem(atPath: original, toPath: place)
        }
        return copy
    }
}

/// A temporary folder for the demo.
struct Scratch {
    private let root: String

    init() throws {
        let name = "swift-qpid-proton-demo-\(getpid())-\(String(UInt32.random(in: .min ... .max), radix: 36))"
        self.root = FileManager.default.temporaryDirectory.appendingPathComponent(name).path
        try FileManager.default.createDirectory(atPath: self.root, withIntermediateDirectories: true)
    }

    func path(_ name: String) -> String { "\(self.root)/\(name)" }

    func remove() { try? FileManager.default.removeItem(atPath: self.root) }
}

/// The result of one relay.
struct Row {
    let route: String
    let copy: String
    let files: Int
    let bytes: Int
    let seconds: Duration
    /// The most bytes that one process buffered for the network.
    let peakBuffered: Int
    /// The most resident memory of one process.
    let peakResident: Int

    var report: Report {
        var report = Report()
        report.add("route", self.route)
        report.add("files", self.files)
        report.add("bytes", self.bytes)
        report.add("seconds", seconds: self.seconds)
        report.add("buffered_bytes_peak", self.peakBuffered)
        report.add("resident_bytes_peak", self.peakResident)
        return report
    }

    static func table(_ rows: [Row]) -> String {
        var lines = [["route", "files", "bytes", "seconds", "peak buffered", "peak resident"]]
        for row in rows {
            lines.append([
                row.route, "\(row.files)", "\(row.bytes)", String(format: "%.3f", row.seconds.inSeconds),
                Units.bytes(row.peakBuffered), Units.bytes(row.peakResident),
            ])
        }
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            line.enumerated().map { column, text in
                let gap = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + gap : gap + text
            }.joined(separator: "  ") + "\n"
        }.joined()
    }
}
