//! What the inputs of well-known ComfyUI nodes name: model files, files of the input folder, paths, or nothing.
//!
//! A router has no `object_info`, so it decides by this table. A worker reads the same facts from its server
//! and uses the table for what the server does not say.

/// How an input of a node names a file that is not a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileUse {
    /// A file of the input folder, where a job's own files are uploaded to.
    Upload,
    /// A folder, or a path of the server's disk. A job's own files cannot be there.
    Path,
}

/// The inputs of a known node class that are choices of model files; none for a class that is not known.
#[must_use]
pub fn model_inputs(class: &str) -> Option<&'static [&'static str]> {
    Some(match class {
        "CheckpointLoaderSimple"
        | "unCLIPCheckpointLoader"
        | "ImageOnlyCheckpointLoader"
        | "CreateHookModelAsLora"
        | "CreateHookModelAsLoraModelOnly" => &["ckpt_name"],
        "CheckpointLoader" => &["config_name", "ckpt_name"],
        "LoraLoader" | "LoraLoaderModelOnly" | "CreateHookLora" | "CreateHookLoraModelOnly" => &["lora_name"],
        "VAELoader" => &["vae_name"],
        "UNETLoader" | "UnetLoaderGGUF" | "UnetLoaderGGUFAdvanced" => &["unet_name"],
        "CLIPLoader" | "CLIPLoaderGGUF" | "CLIPVisionLoader" => &["clip_name"],
        "DualCLIPLoader" | "DualCLIPLoaderGGUF" => &["clip_name1", "clip_name2"],
        "TripleCLIPLoader" | "TripleCLIPLoaderGGUF" => &["clip_name1", "clip_name2", "clip_name3"],
        "QuadrupleCLIPLoader" | "QuadrupleCLIPLoaderGGUF" => {
            &["clip_name1", "clip_name2", "clip_name3", "clip_name4"]
        }
        "ControlNetLoader" | "DiffControlNetLoader" => &["control_net_name"],
        "UpscaleModelLoader" => &["model_name"],
        "StyleModelLoader" => &["style_model_name"],
        "GLIGENLoader" => &["gligen_name"],
        "HypernetworkLoader" => &["hypernetwork_name"],
        "PhotoMakerLoader" => &["photomaker_model_name"],
        "AudioEncoderLoader" => &["audio_encoder_name"],
        "ModelPatchLoader" => &["name"],
        "IPAdapterModelLoader" => &["ipadapter_file"],
        // rgthree's nodes take any number of inputs, each an object with the file under `lora`.
        "Power Lora Loader (rgthree)" | "Power Lora Stacker (rgthree)" => &[],
        _ if has_no_model(class) => &[],
        _ => return None,
    })
}

/// ComfyUI's own nodes that common workflows consist of and that load nothing: no question to any server.
fn has_no_model(class: &str) -> bool {
    takes_words(class)
        || matches!(
            class,
            "KSampler"
                | "KSamplerAdvanced"
                | "KSamplerSelect"
                | "SamplerCustomAdvanced"
                | "BasicScheduler"
                | "RandomNoise"
                | "EmptyLatentImage"
                | "ImageScale"
                | "LatentUpscale"
                | "SaveImage"
                | "SaveVideo"
                | "SaveAnimatedWEBP"
                | "PreviewImage"
                | "LoadImage"
        )
}

/// All text of such a node is words, whatever it looks like.
#[must_use]
pub fn takes_words(class: &str) -> bool {
    class.starts_with("CLIPTextEncode") || class.starts_with("TextEncode")
}

/// How an input of a known node class names a file; none where it names none, or the class is not known.
#[must_use]
pub fn file_use(class: &str, input: &str) -> Option<FileUse> {
    let (uploads, paths): (&[&str], &[&str]) = match class {
        "LoadImage" | "LoadImageMask" | "LoadImageOutput" | "WebcamCapture" => (&["image"], &[]),
        "LoadImageSetNode" => (&["images"], &[]),
        "LoadAudio" | "RecordAudio" | "VHS_LoadAudioUpload" => (&["audio"], &[]),
        "LoadVideo" | "GeminiInputFiles" | "OpenAIInputFiles" => (&["file"], &[]),
        "LoadLatent" => (&["latent"], &[]),
        "Load3D" | "Load3DAnimation" | "Load3DAdvanced" => (&["model_file", "image"], &[]),
        "VHS_LoadVideo" | "VHS_LoadVideoFFmpeg" => (&["video"], &[]),
        "LoadAndResizeImage" | "LoadImageMaskFromInput" | "LoadImage //Inspire" => (&["image"], &[]),
        "LoadImageSetFromFolderNode"
        | "LoadImageTextSetFromFolderNode"
        | "LoadImageDataSetFromFolder"
        | "LoadImageTextDataSetFromFolder"
        | "LoadImagesFromFolderKJ" => (&[], &["folder"]),
        "LoadTrainingDataset" => (&[], &["folder_name"]),
        "VHS_LoadVideoPath" | "VHS_LoadVideoFFmpegPath" | "LoadVideosFromFolder" => (&[], &["video"]),
        "VHS_LoadImagePath" => (&[], &["image"]),
        "VHS_LoadAudio" => (&[], &["audio_file"]),
        "VHS_LoadImages"
        | "VHS_LoadImagesPath"
        | "LoadImagesFromDir //Inspire"
        | "LoadImageListFromDir //Inspire" => (&[], &["directory"]),
        "Image Load" => (&[], &["image_path"]),
        "Load Image Batch" => (&[], &["path"]),
        _ => return None,
    };
    if uploads.contains(&input) {
        Some(FileUse::Upload)
    } else {
        paths.contains(&input).then_some(FileUse::Path)
    }
}
