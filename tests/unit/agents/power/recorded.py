"""What real boards printed, with where each text comes from; expected readings were worked out by hand."""

from __future__ import annotations

TEGRASTATS: dict[str, tuple[str, float | None, str | None]] = {
    # DataDog datadog-agent jetson check test (Apache-2.0)
    "nano_jp4_a": (
        (
            "RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) CPU [2%@102,1%@102,0%@102,0%@102] EMC_FREQ "
            "0% GR3D_FREQ 0% PLL@39C CPU@40.5C PMIC@100C GPU@41C AO@46C thermal@41C POM_5V_IN 900/943 POM_5V_GPU "
            "0/0 POM_5V_CPU 123/123"
        ),
        0.9,
        "POM_5V_IN",
    ),
    # rbonghi/jetson_stats tests/tegrastats:89 @f41d5cad (loads filled in for the $RANDOM placeholders)
    "nano_jp4_sudo": (
        (
            "RAM 331/3964MB (lfb 758x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU "
            "[7%@102,3%@102,1%@102,0%@102] EMC_FREQ 3%@204 GR3D_FREQ 12%@76 APE 25 PLL@20.5C CPU@23.5C PMIC@100C "
            "GPU@22.5C AO@27.5C thermal@23C POM_5V_IN 933/933 POM_5V_GPU 0/0 POM_5V_CPU 84/105"
        ),
        0.933,
        "POM_5V_IN",
    ),
    # DataDog datadog-agent
    "tx2_jp4": (
        (
            "RAM 1345/7829MB (lfb 1290x4MB) SWAP 0/512MB (cached 0MB) CPU [2%@345,off,off,off,off,off] EMC_FREQ "
            "13%@40 GR3D_FREQ 0%@114 APE 150 BCPU@35C MCPU@35C GPU@41C PLL@35C AO@35.5C Tboard@35C Tdiode@36C "
            "PMIC@100C thermal@35.5C VDD_IN 2003/2658 VDD_CPU 320/518 VDD_GPU 400/735 VDD_SOC 400/415 VDD_WIFI "
            "0/0 VDD_DDR 240/348"
        ),
        2.003,
        "VDD_IN",
    ),
    # DataDog datadog-agent
    "agx_xavier_jp4": (
        (
            "RAM 1903/15692MB (lfb 3251x4MB) CPU "
            "[1%@1190,1%@1190,2%@1190,0%@1190,0%@1190,0%@1190,0%@1190,0%@1190] EMC_FREQ 0% GR3D_FREQ 0% AO@32.5C "
            "GPU@32C Tboard@32C Tdiode@34.75C AUX@31.5C CPU@33.5C thermal@32.9C PMIC@100C GPU 0/0 CPU 216/216 SOC "
            "864/864 CV 0/0 VDDRQ 144/144 SYS5V 1889/1889"
        ),
        3.113,
        "sum6",
    ),
    # henrygd/beszel agent/gpu_test.go @04600d83 (MIT)
    "orin_nano_jp6_load": (
        (
            "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) CPU "
            "[15%@729,11%@729,14%@729,13%@729,11%@729,8%@729] EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVDEC off "
            "NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@53.968C soc2@52.437C soc0@50.75C gpu@53.343C "
            "tj@53.968C soc1@51.656C VDD_IN 12479mW/12479mW VDD_CPU_GPU_CV 4667mW/4667mW VDD_SOC 2817mW/2817mW"
        ),
        12.479,
        "VDD_IN",
    ),
    # henrygd/beszel agent/gpu_test.go @04600d83 (MIT)
    "orin_nano_jp6_idle": (
        (
            "06-18-2025 11:25:24 RAM 3452/7620MB (lfb 25x4MB) SWAP 1518/16384MB (cached 174MB) CPU "
            "[1%@1420,2%@1420,0%@1420,2%@1420,2%@729,1%@729] GR3D_FREQ 0% cpu@50.031C soc2@49.031C soc0@50C "
            "gpu@49.031C tj@50.25C soc1@50.25C VDD_IN 4824mW/4824mW VDD_CPU_GPU_CV 518mW/518mW VDD_SOC "
            "1475mW/1475mW"
        ),
        4.824,
        "VDD_IN",
    ),
    # rbonghi/jetson_stats tests/tegrastats:86 @f41d5cad (loads filled in)
    "agx_orin_jp5": (
        (
            "01-03-2023 16:07:54 RAM 2257/30536MB (lfb 5392x4MB) SWAP 0/15268MB (cached 0MB) CPU "
            "[3%@729,1%@729,0%@729,2%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ "
            "0%@204 GR3D_FREQ 0%@0 GR3D2_FREQ 0%@0 NVJPG1 729 VIC_FREQ 115 APE 233 CV0@-256C CPU@41.437C "
            "Tboard@29C SOC2@39.062C Tdiode@30.75C SOC0@39.031C CV1@-256C GPU@-256C tj@41.656C SOC1@38.937C "
            "CV2@-256C VDD_GPU_SOC 2390mW/2390mW VDD_CPU_CV 796mW/796mW VIN_SYS_5V0 3522mW/3522mW NC 0mW/0mW "
            "VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
        ),
        6.708,
        "sum3",
    ),
    # (README of a DLA sample)
    "agx_orin_jp6": (
        (
            "11-21-2025 08:49:48 RAM 13983/62780MB (lfb 424x4MB) SWAP 126/31390MB (cached 0MB) CPU "
            "[90%@2201,100%@2201,100%@2201,100%@2201,100%@2201,100%@2201,"
            "100%@2201,100%@2201,100%@2201,100%@2201,100%@2201,100%@2201] "
            "EMC_FREQ 1%@2133 GR3D_FREQ 14%@[407,407] VIC_FREQ 115 NVDLA0_FREQ @1600 APE 174 CV0@73.625C "
            "CPU@77.281C Tboard@62C SOC2@70C Tdiode@62.25C SOC0@69.531C CV1@72.5C GPU@69.125C tj@77.281C "
            "SOC1@68.968C CV2@67.25C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW VIN_SYS_5V0 "
            "4968mW/5048mW VDDQ_VDD2_1V8AO 1091mW/1091mW"
        ),
        22.43,
        "sum3",
    ),
    # rbonghi/jetson_stats jtop/tests/test_06_tegra_parse.py @f41d5cad (real line, JetPack 7.2 / L4T R39.2)
    "agx_orin_jp7": (
        (
            "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU "
            "[23%@2201,10%@2201,4%@2201,14%@2201,30%@2201,18%@2201,10%@2201,10%@2201,33%@2201,7%@2201,5%@2201,27%@2201] "
            "EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA "
            "off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.968C/52.968C soc2@48.406C/48.406C "
            "soc0@49.531C/49.531C gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV "
            "3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"
        ),
        13.907,
        "sum3",
    ),
    # rbonghi/jetson_stats test_06_tegra_parse.py
    "thor_fragment": (
        "RAM 4722/7844MB (lfb 1x512kB) EMC_FREQ 2%@1866 GR3D_FREQ @[1000,1000,1000] APE 150",
        None,
        None,
    ),
}
"""By name: a line, the watts that the board draws in all, and the rail that tells them; averages behind a slash are never used."""

# (mock labelled real layout); layout confirmed by ids 52096970358, 70688027673
PI5_PMIC = """\
   3V7_WL_SW_A current(0)=0.10247270A
     3V3_SYS_A current(1)=0.10832820A
     1V8_SYS_A current(2)=0.15712470A
    DDR_VDD2_A current(3)=0.00585558A
    DDR_VDDQ_A current(4)=0.00000000A
     1V1_SYS_A current(5)=0.24105470A
      0V8_SW_A current(6)=0.31424950A
    VDD_CORE_A current(7)=1.42880000A
     3V3_DAC_A current(17)=0.00000000A
     3V3_ADC_A current(18)=0.00006105A
     0V8_AON_A current(16)=0.00354090A
        HDMI_A current(22)=0.02002440A
   3V7_WL_SW_V volt(8)=3.71091200V
     3V3_SYS_V volt(9)=3.30910500V
     1V8_SYS_V volt(10)=1.80073100V
    DDR_VDD2_V volt(11)=1.10439400V
    DDR_VDDQ_V volt(12)=0.60439500V
     1V1_SYS_V volt(13)=1.10805800V
      0V8_SW_V volt(14)=0.80402850V
    VDD_CORE_V volt(15)=0.90659250V
     3V3_DAC_V volt(20)=3.31135200V
     3V3_ADC_V volt(21)=3.31867800V
     0V8_AON_V volt(19)=0.79882700V
        HDMI_V volt(23)=5.07860000V
     EXT5V_V volt(24)=5.05716000V
      BATT_V volt(25)=0.00000000V
"""
PI5_SUM_W, PI5_BOARD_W, PI5_RAILS = 2.948, 3.9636, 12

# GitHub file 68582995103: hwmon of an Orin Nano's INA3221
ORIN_NANO_SYSFS = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "4984", "curr1_input": "1856"}
ORIN_NANO_SYSFS_W = 9.250  # 4.984 V x 1.856 A

# GitHub files 45598164915 and 67190547637: the second INA3221 of an AGX Orin, whose VDDQ channel stands at 5 V
AGX_ORIN_SECOND_SYSFS = {
    "name": "ina3221",
    "in1_label": "NC",
    "in2_label": "VDDQ_VDD2_1V8AO",
    "in2_input": "4968",
    "curr2_input": "80",
}

# github.com/raspberrypi/userland and DietPi issue 5970: vcgencmd of a user who is not in the group video
VCHI_FAILED = "VCHI initialization failed\n"
# vcgencmd for a command that a board's firmware does not have
NOT_REGISTERED = 'error=1 error_msg="Command not registered"\n'

# pastebin.com/bBzauZ1s: `meters[0]` of a Shelly Plug S, as /meter/0 tells it too
SHELLY1 = (
    b'{"power": 2.21, "is_valid": true, "timestamp": 1680779310, "counters": [2.115, 2.114, 2.142], "total": 439237}'
)

# GitHub file 17193622549 (documentation of the Smart Appliance Enabler): http://…/cm?cmnd=Status%208
TASMOTA = (
    b'{"StatusSNS":{"Time":"2019-09-06T20:06:19","ENERGY":{"TotalStartTime":"2019-08-18T11:07:55","Total":0.003,"Yesterday":0.000,'
    b'"Today":0.003,"Power":26,"ApparentPower":25,"ReactivePower":25,"Factor":0.06,"Voltage":239,"Current":0.106}}}'
)
# gist.github.com/lmaertin/e17e5b437d2caafca217608fecb0b10d: the same of a first version of Tasmota
TASMOTA_OLD = (
    b'{"StatusPWR":{"Total":0.520, "Yesterday":0.100, "Today":0.320, "Power":27, "Factor":0.94, '
    b'"Voltage":234, "Current":0.122}}'
)
# GitHub file 323881001: Shelly.GetStatus of a Shelly Plug US
SHELLY2 = (
    b'{"ble":{},"cloud":{"connected":true},"mqtt":{"connected":true},"switch:0":{"id":0, "source":"loopback", "output":true, '
    b'"apower":10.7, "voltage":120.7, "current":0.133, "aenergy":{"total":46791.262,"by_minute":[73.921,177.749,177.749],'
    b'"minute_ts":1682952864},"temperature":{"tC":47.9, "tF":118.3}},"sys":{"time":"10:54","uptime":347388}}'
)
# GitHub file 25791911992: Shelly.GetStatus of a Shelly Plus 2PM
SHELLY2_TWO = (
    b'{"ble":{},"cloud":{"connected":false},"switch:0":{"id":0, "source":"MQTT", "output":false, "apower":0.0, "voltage":237.0},'
    b'"switch:1":{"id":1, "source":"MQTT", "output":false, "apower":0.0, "voltage":237.1}}'
)
# GitHub file 53926688113: http://…/api/states/<entity> of Home Assistant; the entity's name is changed
HOME_ASSISTANT = (
    b'{"entity_id":"sensor.station_power","state":"77.1","attributes":{"state_class":"measurement","unit_of_measurement":"W",'
    b'"device_class":"power","friendly_name":"Station Power"},"last_changed":"2026-04-25T16:52:57.306218+00:00",'
    b'"last_reported":"2026-04-25T16:52:57.306218+00:00","last_updated":"2026-04-25T16:52:57.306218+00:00"}'
)
