//! What the workflows of the fleet leave behind: pictures and films of the asked size.

use serde_json::{Value, json};
use simulators::comfyui::{Config, Server};

use crate::support::{ask, client, until, workflow};

async fn run(server: &Server, graph: &Value) -> Value {
    let http = client();
    let body = json!({"prompt": graph}).to_string();
    let (_, answer) = ask(http.post(format!("{}/prompt", server.url())).body(body)).await;
    let id = answer["prompt_id"].as_str().unwrap_or_else(|| panic!("refused: {answer}")).to_owned();
    let url = format!("{}/history/{id}", server.url());
    let mut history = until(&http, &url, ("x-none", ""), "the end", |body| body[&id].is_object()).await;
    assert_eq!(history[&id]["status"]["status_str"], "success", "{history}");
    history[&id]["outputs"].take()
}

async fn fetch(server: &Server, file: &Value) -> Vec<u8> {
    let query = [("filename", &file["filename"]), ("subfolder", &file["subfolder"]), ("type", &file["type"])];
    let query = query.map(|(name, value)| (name, value.as_str().unwrap().to_owned()));
    let answer = client().get(format!("{}/view", server.url())).query(&query).send().await.unwrap();
    assert!(answer.status().is_success(), "{file}");
    answer.bytes().await.unwrap().to_vec()
}

fn png_size(bytes: &[u8]) -> (u32, u32) {
    let info = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
    (info.info().width, info.info().height)
}

async fn start() -> Server {
    Server::start(Config { time_scale: 0.001, ..Config::default() }).await.unwrap()
}

#[tokio::test]
async fn text_to_image_has_its_size_and_is_repeatable() {
    let server = start().await;
    let one = fetch(&server, &run(&server, &workflow("a fox", 1)).await["9"]["images"][0]).await;
    assert_eq!(png_size(&one), (128, 64));
    let other = start().await;
    let again = fetch(&other, &run(&other, &workflow("a fox", 1)).await["9"]["images"][0]).await;
    assert_eq!(one, again, "same prompt and seed, same picture");
    let different = fetch(&other, &run(&other, &workflow("a fox", 2)).await["9"]["images"][0]).await;
    assert_ne!(one, different);
}

#[tokio::test]
async fn flux_with_custom_sampling() {
    let server = start().await;
    let graph = json!({
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
        "2": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "t5xxl_fp16.safetensors",
            "clip_name2": "clip_l.safetensors", "type": "flux"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["2", 0]}},
        "5": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["4", 0], "guidance": 3.5}},
        "6": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["5", 0]}},
        "7": {"class_type": "RandomNoise", "inputs": {"noise_seed": 42}},
        "8": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "9": {"class_type": "BasicScheduler", "inputs": {"model": ["1", 0], "scheduler": "simple", "steps": 20,
            "denoise": 1.0}},
        "10": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 256, "height": 192, "batch_size": 2}},
        "11": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["7", 0], "guider": ["6", 0],
            "sampler": ["8", 0], "sigmas": ["9", 0], "latent_image": ["10", 0]}},
        "12": {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["3", 0]}},
        "13": {"class_type": "SaveImage", "inputs": {"images": ["12", 0], "filename_prefix": "flux"}},
    });
    let outputs = run(&server, &graph).await;
    let files = outputs["13"]["images"].as_array().unwrap();
    assert_eq!(files.len(), 2, "a batch of two");
    assert_eq!(png_size(&fetch(&server, &files[1]).await), (256, 192));
}

#[tokio::test]
async fn image_to_image_takes_the_size_of_the_upload() {
    let server = start().await;
    let source = fetch(&server, &run(&server, &workflow("source", 1)).await["9"]["images"][0]).await;
    let part = reqwest::multipart::Part::bytes(source).file_name("in.png");
    let form = reqwest::multipart::Form::new().part("image", part);
    let (_, stored) = ask(client().post(format!("{}/upload/image", server.url())).multipart(form)).await;
    let mut graph = workflow("painted over", 3);
    graph["10"] = json!({"class_type": "LoadImage", "inputs": {"image": stored["name"]}});
    graph["11"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}});
    graph["3"]["inputs"]["latent_image"] = json!(["11", 0]);
    graph.as_object_mut().unwrap().remove("5");
    let made = fetch(&server, &run(&server, &graph).await["9"]["images"][0]).await;
    assert_eq!(png_size(&made), (128, 64));
}

#[tokio::test]
async fn films_come_as_mp4_and_webp() {
    let server = start().await;
    let graph = json!({
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan2.1_t2v_1.3B_fp16.safetensors",
            "weight_dtype": "default"}},
        "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
            "type": "wan"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}},
        "4": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 208, "height": 112, "length": 9,
            "batch_size": 1}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "waves", "clip": ["2", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["2", 0]}},
        "7": {"class_type": "ModelSamplingSD3", "inputs": {"model": ["1", 0], "shift": 8.0}},
        "8": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 4, "cfg": 6.0, "sampler_name": "uni_pc",
            "scheduler": "simple", "denoise": 1.0, "model": ["7", 0], "positive": ["5", 0], "negative": ["6", 0],
            "latent_image": ["4", 0]}},
        "9": {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0], "vae": ["3", 0]}},
        "10": {"class_type": "CreateVideo", "inputs": {"images": ["9", 0], "fps": 16.0}},
        "11": {"class_type": "SaveVideo", "inputs": {"video": ["10", 0], "filename_prefix": "video/clip",
            "format": "auto", "codec": "auto"}},
        "12": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["9", 0], "filename_prefix": "anim", "fps": 6.0,
            "lossless": true, "quality": 80, "method": "default"}},
        "13": {"class_type": "VHS_VideoCombine", "inputs": {"images": ["9", 0], "frame_rate": 8.0, "loop_count": 0,
            "filename_prefix": "vhs", "format": "video/h264-mp4", "pingpong": false, "save_output": true}},
    });
    let outputs = run(&server, &graph).await;
    assert_eq!(outputs["11"]["animated"], json!([true]));
    assert_eq!(outputs["11"]["images"][0]["subfolder"], "video");
    let mp4 = fetch(&server, &outputs["11"]["images"][0]).await;
    assert_eq!(&mp4[4..12], b"ftypisom");
    let webp = fetch(&server, &outputs["12"]["images"][0]).await;
    let decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(webp)).expect("a WebP");
    assert_eq!((decoder.dimensions(), decoder.num_frames()), ((208, 112), 9));
    assert_eq!(outputs["13"]["gifs"][0]["format"], "video/h264-mp4");
}

#[tokio::test]
async fn files_outlive_a_restart_and_counting_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { time_scale: 0.001, state_dir: Some(dir.path().to_owned()), ..Config::default() };
    let server = Server::start(config.clone()).await.unwrap();
    let first = run(&server, &workflow("fox", 1)).await["9"]["images"][0].clone();
    drop(server);
    let server = Server::start(config).await.unwrap();
    assert!(!fetch(&server, &first).await.is_empty());
    let second = run(&server, &workflow("fox", 2)).await["9"]["images"][0].clone();
    assert_eq!(
        (&first["filename"], &second["filename"]),
        (&json!("hint-1_00001_.png"), &json!("hint-1_00002_.png"))
    );
}
