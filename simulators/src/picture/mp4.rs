//! The MP4 container around H.264 samples: `ftyp`, `moov`, `mdat`, one track, one chunk.

/// One video track. Every sample is one NAL unit; the first is a key frame and the only one.
pub(super) struct Track<'a> {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Frames per thousand seconds.
    pub(super) fps_milli: u32,
    pub(super) sps: &'a [u8],
    pub(super) pps: &'a [u8],
    pub(super) samples: &'a [Vec<u8>],
}

/// Bytes before each sample that say how long it is.
const LENGTH_BYTES: usize = 4;

pub(super) fn mux(track: &Track<'_>) -> Vec<u8> {
    let ftyp = boxed(b"ftyp", &[b"isom", &be32(512), b"isomiso2avc1mp41"]);
    // The offset of the media data depends on the length of the index, which does not depend on the offset.
    let length = moov(track, 0).len();
    let offset = (ftyp.len() + length + 8) as u32;
    let mut file = ftyp;
    file.extend(moov(track, offset));
    let media: usize = track.samples.iter().map(|sample| sample.len() + LENGTH_BYTES).sum();
    file.extend(be32(media as u32 + 8));
    file.extend(b"mdat");
    for sample in track.samples {
        file.extend(be32(sample.len() as u32));
        file.extend(sample);
    }
    file
}

fn be32(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(be32(length as u32));
    bytes.extend(kind);
    for part in parts {
        bytes.extend(*part);
    }
    bytes
}

/// The identity matrix of movie and track headers, in fixed point.
const MATRIX: [u8; 36] = {
    let mut matrix = [0; 36];
    matrix[1] = 1; // 1.0 as 16.16
    matrix[17] = 1;
    matrix[32] = 0x40; // 1.0 as 2.30
    matrix
};

/// Ticks per frame; the time scale is frames per thousand seconds.
const TICKS: u32 = 1000;

fn moov(track: &Track<'_>, offset: u32) -> Vec<u8> {
    let duration = be32(track.samples.len() as u32 * TICKS);
    let scale = be32(track.fps_milli);
    let mvhd = boxed(
        b"mvhd",
        &[&[0; 12], &scale, &duration, &be32(0x1_0000), &[1, 0], &[0; 10], &MATRIX, &[0; 24], &be32(2)],
    );
    let size = [be32(u32::from(track.width) << 16), be32(u32::from(track.height) << 16)].concat();
    let tkhd =
        boxed(b"tkhd", &[&[0, 0, 0, 3], &[0; 8], &be32(1), &[0; 4], &duration, &[0; 16], &MATRIX, &size]);
    let mdhd = boxed(b"mdhd", &[&[0; 12], &scale, &duration, &[0x55, 0xc4, 0, 0]]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"simulated video\0"]);
    let dref = boxed(b"dref", &[&[0; 4], &be32(1), &boxed(b"url ", &[&[0, 0, 0, 1]])]);
    let minf = boxed(
        b"minf",
        &[
            &boxed(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]),
            &boxed(b"dinf", &[&dref]),
            &sample_table(track, offset),
        ],
    );
    let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
    boxed(b"moov", &[&mvhd, &boxed(b"trak", &[&tkhd, &mdia])])
}

fn sample_table(track: &Track<'_>, offset: u32) -> Vec<u8> {
    let count = be32(track.samples.len() as u32);
    let sizes: Vec<u8> =
        track.samples.iter().flat_map(|sample| be32((sample.len() + LENGTH_BYTES) as u32)).collect();
    let avcc = boxed(
        b"avcC",
        &[
            &[1, track.sps[1], track.sps[2], track.sps[3], 0xff, 0xe1],
            &(track.sps.len() as u16).to_be_bytes(),
            track.sps,
            &[1],
            &(track.pps.len() as u16).to_be_bytes(),
            track.pps,
        ],
    );
    let avc1 = boxed(
        b"avc1",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &track.width.to_be_bytes(),
            &track.height.to_be_bytes(),
            &be32(0x48_0000),
            &be32(0x48_0000),
            &[0; 4],
            &[0, 1],
            &[0; 32],
            &[0, 24, 0xff, 0xff],
            &avcc,
        ],
    );
    let one = be32(1);
    boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0; 4], &one, &avc1]),
            &boxed(b"stts", &[&[0; 4], &one, &count, &be32(TICKS)]),
            &boxed(b"stss", &[&[0; 4], &one, &one]),
            &boxed(b"stsc", &[&[0; 4], &one, &one, &count, &one]),
            &boxed(b"stsz", &[&[0; 4], &[0; 4], &count, &sizes]),
            &boxed(b"stco", &[&[0; 4], &one, &be32(offset)]),
        ],
    )
}
