// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import QpidProton

/// The inputs that once made a fuzz target fail, and the seeds of the fuzzer: none of them may fail.
///
/// `./dev/fuzz --seeds` sets `QPID_PROTON_FUZZ_SEEDS`, and the test writes the seeds again.
@Suite(.serialized, .deadline(minutes: 3))
struct FailCasesTests {
    private static let folder = Repository.root.appending(path: "FuzzTesting")

    private static func files(_ kind: String, _ target: FuzzTarget) throws -> [URL] {
        let folder = Self.folder.appending(path: "\(kind)/\(target.rawValue)")
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .sorted { $0.path < $1.path }
    }

    private static func run(_ file: URL, _ target: FuzzTarget) throws {
        do {
            try Data(contentsOf: file).withUnsafeBytes { try target.run($0) }
        } catch let failure as ModelFailure {
            Issue.record("\(file.lastPathComponent): \(failure)")
        }
    }

    @Test(arguments: FuzzTarget.allCases)
    func failCases(of target: FuzzTarget) throws {
        for file in try Self.files("FailCases", target) { try Self.run(file, target) }
    }

    @Test(arguments: FuzzTarget.allCases)
    func seeds(of target: FuzzTarget) throws {
        let files = try Self.files("Seeds", target)
        #expect(!files.isEmpty)
        for file in files { try Self.run(file, target) }
    }

    /// Writes the seeds, or checks that they can be generated.
    @Test func seedsAreMade() async throws {
        let seeds = try await FuzzSeeds.make()
        #expect(Set(seeds.map(\.target)) == Set(FuzzTarget.allCases))
        guard ProcessInfo.processInfo.environment["QPID_PROTON_FUZZ_SEEDS"] != nil else { return }
        try? FileManager.default.removeItem(at: Self.folder.appending(path: "Seeds"))
        for seed in seeds {
            let folder = Self.folder.appending(path: "Seeds/\(seed.target.rawValue)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(seed.bytes).write(to: folder.appending(path: seed.name))
        }
    }
}
