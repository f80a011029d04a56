//! What the NVIDIA driver says. Without a driver: silence, and `argosy_nvml_available` 0.

use std::sync::Mutex;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use runtime::metrics;
use schemas::Gpu;

/// The driver, where there is one.
pub struct Gpus {
    nvml: Option<Nvml>,
    /// The driver's number of the GPU whose energy counts, once it is known.
    counted: Mutex<Option<u32>>,
}

impl Default for Gpus {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpus {
    /// Looks for the driver, once.
    #[must_use]
    pub fn new() -> Self {
        let nvml = Nvml::init().inspect_err(|error| tracing::debug!(%error, "no NVIDIA driver")).ok();
        metrics::NVML_AVAILABLE.set(if nvml.is_some() { 1.0 } else { 0.0 });
        Self { nvml, counted: Mutex::new(None) }
    }

    /// Whether the driver answers.
    #[must_use]
    pub const fn available(&self) -> bool {
        self.nvml.is_some()
    }

    /// The GPU that a server calls by this name: the one at the given number, else the first of that
    /// name. None when this machine has no such GPU, as with a server on another machine.
    #[must_use]
    pub fn find(&self, index: Option<u32>, server_name: &str) -> Option<Gpu> {
        let nvml = self.nvml.as_ref()?;
        let count = nvml.device_count().ok()?;
        let named = |index: &u32| {
            let name = nvml.device_by_index(*index).and_then(|device| device.name());
            name.is_ok_and(|name| server_name.contains(&name))
        };
        let index = index.filter(|index| *index < count).into_iter().chain(0..count).find(named)?;
        *self.counted() = Some(index);
        read(nvml, index).inspect(|gpu| report(index, gpu))
    }

    /// What the GPU has used since the driver was loaded, millijoules. Some cards do not count.
    #[must_use]
    pub fn energy_mj(&self) -> Option<u64> {
        let index = (*self.counted())?;
        self.nvml.as_ref()?.device_by_index(index).ok()?.total_energy_consumption().ok()
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Option<u32>> {
        self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read(nvml: &Nvml, index: u32) -> Option<Gpu> {
    let device = nvml.device_by_index(index).ok()?;
    let memory = device.memory_info().ok()?;
    Some(Gpu {
        name: device.name().ok()?,
        vram_total_bytes: memory.total,
        vram_free_bytes: memory.free,
        utilisation_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
        power_mw: device.power_usage().ok(),
        energy_mj: device.total_energy_consumption().ok(),
    })
}

/// Metrics, in base units.
fn report(index: u32, gpu: &Gpu) {
    let gpu_label = || [index.to_string().into()];
    let used_bytes = gpu.vram_total_bytes.saturating_sub(gpu.vram_free_bytes);
    metrics::GPU_MEMORY_USED.of(gpu_label()).set(used_bytes as f64);
    metrics::GPU_MEMORY_TOTAL.of(gpu_label()).set(gpu.vram_total_bytes as f64);
    if let Some(percent) = gpu.utilisation_percent {
        metrics::GPU_UTILISATION.of(gpu_label()).set(f64::from(percent) / 100.0);
    }
    if let Some(celsius) = gpu.temperature_celsius {
        metrics::GPU_TEMPERATURE.of(gpu_label()).set(f64::from(celsius));
    }
    if let Some(milliwatts) = gpu.power_mw {
        metrics::GPU_POWER.of(gpu_label()).set(f64::from(milliwatts) / 1_000.0);
    }
    if let Some(millijoules) = gpu.energy_mj {
        metrics::GPU_ENERGY.of(gpu_label()).absolute(millijoules / 1_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name that a server would give to the driver's first GPU.
    fn first_name(gpus: &Gpus) -> Option<String> {
        let name = gpus.nvml.as_ref()?.device_by_index(0).ok()?.name().ok()?;
        Some(format!("cuda:0 {name} : cudaMallocAsync"))
    }

    #[test]
    fn the_driver_is_read_or_all_is_silence() {
        let gpus = Gpus::new();
        assert_eq!(gpus.find(Some(0), "cuda:0 Simulated GeForce RTX 4090 : cudaMallocAsync"), None);
        assert_eq!(gpus.energy_mj(), None, "nothing is counted before a GPU was found");
        let Some(name) = first_name(&gpus) else {
            assert!(!gpus.available() && gpus.find(None, "anything").is_none());
            return;
        };
        for index in [None, Some(0), Some(99)] {
            let gpu = gpus.find(index, &name).expect("the driver's first GPU");
            assert!(name.contains(&gpu.name) && gpu.vram_total_bytes >= gpu.vram_free_bytes);
            assert!(gpu.vram_total_bytes > 0, "{gpu:?}");
        }
        if let Some(before_mj) = gpus.energy_mj() {
            assert!(
                gpus.energy_mj().is_some_and(|after_mj| after_mj >= before_mj),
                "it never runs backwards"
            );
        }
    }
}
